#include "collectives/algorithms/direct_gather.h"

#include <algorithm>

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule DirectGather(const Shape& shape, std::span<const int> senders,
                      std::span<const int> receivers) {
  ScheduleBuilder builder(shape.rank, shape.size, /*in_place=*/false);
  const bool sends = std::find(senders.begin(), senders.end(), shape.rank) != senders.end();
  const bool receives =
      std::find(receivers.begin(), receivers.end(), shape.rank) != receivers.end();
  const ElementRange all{0, shape.count};
  for (size_t k = 0; k < ChunksOf(all, shape.chunk); ++k) {
    const ElementRange piece = ChunkOf(all, shape.chunk, k);
    for (int receiver : receivers) {
      if (sends && receiver != shape.rank) {
        builder.Send(receiver, Input(piece.begin), piece.count());
      }
    }
    for (size_t i = 0; receives && i < senders.size(); ++i) {
      const size_t begin = i * shape.count + piece.begin;
      if (senders[i] == shape.rank) {
        builder.Copy(Output(begin), Input(piece.begin), piece.count());
      } else {
        builder.Recv(senders[i], Output(begin), piece.count());
      }
    }
  }
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
