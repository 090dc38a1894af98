#include "collectives/algorithms/direct_allgather.h"

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule DirectAllGather(const Shape& shape) {
  const int n = shape.size;
  ScheduleBuilder builder(shape.rank, n, /*in_place=*/false);
  const ElementRange all{0, shape.count};
  for (size_t k = 0; k < ChunksOf(all, shape.chunk); ++k) {
    const ElementRange piece = ChunkOf(all, shape.chunk, k);
    for (int distance = 1; distance < n; ++distance) {
      builder.Send((shape.rank + distance) % n, Input(piece.begin), piece.count());
    }
    for (int distance = 1; distance < n; ++distance) {
      const int peer = (shape.rank + n - distance) % n;
      builder.Recv(peer, Output(peer * shape.count + piece.begin), piece.count());
    }
  }
  builder.Copy(Output(shape.rank * shape.count), Input(0), shape.count);
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
