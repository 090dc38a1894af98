/* The loop of benchmarks/allreduce_loop over Open MPI with ULFM: all-reduces of 1 MiB of float32
   until the program is killed. A lost rank is revoked and shrunk away, and the all-reduce is done
   again.

   Writes `world SIZE NANOSECONDS` (of CLOCK_MONOTONIC) to FOLDER/RANK when it has completed the
   first all-reduce in a world of that size, FOLDER/RANK.pid before. */
#include <mpi.h>
#include <mpi-ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { kCount = 1 << 18 };

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  if (argc != 2) {
    fprintf(stderr, "usage: ulfm_loop FOLDER\n");
    return 2;
  }
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  char path[4096];
  snprintf(path, sizeof(path), "%s/%d.pid", argv[1], rank);
  FILE* pid = fopen(path, "w");
  snprintf(path, sizeof(path), "%s/%d", argv[1], rank);
  FILE* log = fopen(path, "w");
  if (pid == NULL || log == NULL) {
    perror(path);
    return 1;
  }
  fprintf(pid, "%d\n", (int)getpid());
  fclose(pid);

  MPI_Comm world;
  MPI_Comm_dup(MPI_COMM_WORLD, &world);
  MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
  float* own = malloc(kCount * sizeof(float));
  float* sum = malloc(kCount * sizeof(float));
  int known_size = 0;
  for (;;) {
    for (int i = 0; i < kCount; ++i) own[i] = 1.0f;
    int failed = MPI_Allreduce(own, sum, kCount, MPI_FLOAT, MPI_SUM, world) != MPI_SUCCESS;
    if (failed) {
      MPI_Comm smaller;
      MPIX_Comm_revoke(world);
      MPIX_Comm_shrink(world, &smaller);
      MPI_Comm_set_errhandler(smaller, MPI_ERRORS_RETURN);
      world = smaller;
      continue;
    }
    int size;
    MPI_Comm_size(world, &size);
    if (size == known_size) continue;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (sum[0] != (float)size || sum[kCount - 1] != (float)size) {
      fprintf(stderr, "a wrong sum\n");
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
    fprintf(log, "world %d %lld\n", size, now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(log);
    known_size = size;
  }
}
