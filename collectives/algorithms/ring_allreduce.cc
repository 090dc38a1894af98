#include "collectives/algorithms/ring_allreduce.h"

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule RingAllReduce(const Shape& shape) {
  const int n = shape.size;
  ScheduleBuilder builder(shape.rank, n, shape.in_place);
  if (n == 1) {
    if (!shape.in_place) builder.Copy(Output(0), Input(0), shape.count);
    return std::move(builder).Build();
  }
  const int next = (shape.rank + 1) % n;
  const int previous = (shape.rank + n - 1) % n;
  // The block that is `back` places behind this rank's.
  const auto block = [&](int back) {
    return PartOf(shape.count, n, (shape.rank + 2 * n - back) % n);
  };
  for (int step = 0; step < n - 1; ++step) {
    const ElementRange out = block(step);
    for (size_t k = 0; k < ChunksOf(out, shape.chunk); ++k) {
      const ElementRange piece = ChunkOf(out, shape.chunk, k);
      builder.Send(next, step == 0 ? Input(piece.begin) : Output(piece.begin), piece.count());
    }
    const ElementRange in = block(step + 1);
    for (size_t k = 0; k < ChunksOf(in, shape.chunk); ++k) {
      const ElementRange piece = ChunkOf(in, shape.chunk, k);
      builder.ReduceFromView(previous, Output(piece.begin), Input(piece.begin), piece.count(),
                             step == n - 2 ? Finish::kYes : Finish::kNo, ViewSide::kLeft);
    }
  }
  for (int step = 0; step < n - 1; ++step) {
    const ElementRange out = block(step - 1);
    for (size_t k = 0; k < ChunksOf(out, shape.chunk); ++k) {
      const ElementRange piece = ChunkOf(out, shape.chunk, k);
      builder.Send(next, Output(piece.begin), piece.count());
    }
    const ElementRange in = block(step);
    for (size_t k = 0; k < ChunksOf(in, shape.chunk); ++k) {
      const ElementRange piece = ChunkOf(in, shape.chunk, k);
      builder.Recv(previous, Output(piece.begin), piece.count());
    }
  }
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
