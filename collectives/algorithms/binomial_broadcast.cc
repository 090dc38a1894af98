#include "collectives/algorithms/binomial_broadcast.h"

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule BinomialBroadcast(const Shape& shape, int root) {
  const int n = shape.size;
  ScheduleBuilder builder(shape.rank, n, /*in_place=*/false);
  builder.SetInputCount(0);
  const int place = (shape.rank - root + n) % n;  // counted from the root on
  const int lowest_bit = place & -place;          // 0 for the root
  const ElementRange all{0, shape.count};
  for (size_t k = 0; k < ChunksOf(all, shape.chunk); ++k) {
    const ElementRange piece = ChunkOf(all, shape.chunk, k);
    if (place != 0) {
      const int parent = (place - lowest_bit + root) % n;
      builder.Recv(parent, Output(piece.begin), piece.count());
    }
    int bit = 1;
    while (bit < n && (place == 0 || bit < lowest_bit)) bit *= 2;
    for (bit /= 2; bit >= 1; bit /= 2) {
      if (place + bit >= n) continue;
      builder.Send((place + bit + root) % n, Output(piece.begin), piece.count());
    }
  }
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
