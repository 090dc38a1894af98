#include "collectives/algorithms/dissemination_barrier.h"

#include "collectives/schedule/schedule_builder.h"

namespace closeranks::collectives {

Schedule DisseminationBarrier(int rank, int size) {
  ScheduleBuilder builder(rank, size, /*in_place=*/false);
  builder.SetInputCount(0);
  ScheduleBuilder::StepId heard = ScheduleBuilder::kNoStep;
  for (int distance = 1; distance < size; distance *= 2) {
    const auto sent = builder.SendEmpty((rank + distance) % size);
    builder.After(sent, heard);
    // A receive needs no dependency: the message can't come before it was sent, and it has no
    // memory. But it must not count before the round before has ended.
    const auto received = builder.RecvEmpty((rank + size - distance) % size);
    builder.After(received, heard);
    heard = received;
  }
  return std::move(builder).Build();
}

}  // namespace closeranks::collectives
