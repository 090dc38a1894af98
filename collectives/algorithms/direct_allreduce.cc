#include "collectives/algorithms/direct_allreduce.h"

#include <vector>

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule DirectAllReduce(const Shape& shape) {
  const int n = shape.size;
  const int rank = shape.rank;
  ScheduleBuilder builder(rank, n, shape.in_place);
  if (n == 1) {
    if (!shape.in_place) builder.Copy(Output(0), Input(0), shape.count);
    return std::move(builder).Build();
  }
  const auto peer_at = [&](int distance) { return (rank + distance) % n; };
  // results[p][k]: the step that receives the sum of chunk k of p's block.
  std::vector<std::vector<ScheduleBuilder::StepId>> results(n);
  const ElementRange own = PartOf(shape.count, n, rank);
  // The first block is a longest one.
  const size_t chunks = ChunksOf(PartOf(shape.count, n, 0), shape.chunk);
  for (size_t k = 0; k < chunks; ++k) {
    for (int distance = 1; distance < n; ++distance) {
      const int peer = peer_at(distance);
      const ElementRange piece = ChunkOf(PartOf(shape.count, n, peer), shape.chunk, k);
      const auto sent = builder.Send(peer, Input(piece.begin), piece.count());
      if (n > 2 && k >= kDirectWindow) builder.After(sent, results[peer][k - kDirectWindow]);
    }
    const ElementRange mine = ChunkOf(own, shape.chunk, k);
    for (int distance = 1; distance < n; ++distance) {
      const Slice so_far = distance == 1 ? Input(mine.begin) : Output(mine.begin);
      builder.ReduceFromView(peer_at(distance), Output(mine.begin), so_far, mine.count(),
                             distance == n - 1 ? Finish::kYes : Finish::kNo);
    }
    for (int distance = 1; distance < n; ++distance) {
      builder.Send(peer_at(distance), Output(mine.begin), mine.count());
    }
    for (int distance = 1; distance < n; ++distance) {
      const int peer = peer_at(distance);
      const ElementRange piece = ChunkOf(PartOf(shape.count, n, peer), shape.chunk, k);
      results[peer].push_back(builder.Recv(peer, Output(piece.begin), piece.count()));
    }
  }
  return std::move(builder).Build();
}

Schedule ExchangeAllReduce(const Shape& shape) {
  const int n = shape.size;
  const int rank = shape.rank;
  ScheduleBuilder builder(rank, n, shape.in_place);
  if (n == 1) {
    if (!shape.in_place) builder.Copy(Output(0), Input(0), shape.count);
    return std::move(builder).Build();
  }
  std::vector<Slice> inputs(n);
  for (int peer = 0; peer < n && n > 2; ++peer) {
    inputs[peer] = peer == rank ? Input(0) : builder.AllocateScratch(shape.count);
  }
  const ElementRange all{0, shape.count};
  for (size_t k = 0; k < ChunksOf(all, shape.chunk); ++k) {
    const ElementRange piece = ChunkOf(all, shape.chunk, k);
    const Slice to = Output(piece.begin);
    for (int distance = 1; distance < n; ++distance) {
      builder.Send((rank + distance) % n, Input(piece.begin), piece.count());
    }
    if (n == 2) {
      builder.ReduceFromView(1 - rank, to, Input(piece.begin), piece.count(), Finish::kYes,
                             rank == 0 ? ViewSide::kRight : ViewSide::kLeft);
      continue;
    }
    for (int distance = 1; distance < n; ++distance) {
      const int peer = (rank + distance) % n;
      builder.Recv(peer, inputs[peer].At(piece.begin), piece.count());
    }
    // Only the last addition writes to the output, which may still be this rank's input before. The
    // room of the first peer's input serves for the sums on the way.
    const Slice sums = inputs[rank == 0 ? 1 : 0].At(piece.begin);
    Slice so_far = inputs[0].At(piece.begin);
    for (int peer = 1; peer < n; ++peer) {
      const bool last = peer == n - 1;
      builder.Reduce(last ? to : sums, so_far, inputs[peer].At(piece.begin), piece.count(),
                     last ? Finish::kYes : Finish::kNo);
      so_far = sums;
    }
  }
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
