// SIGUSR1 asks for a checkpoint now.
#ifndef CLOSERANKS_CLOSERANKS_CHECKPOINT_SIGNAL_H_
#define CLOSERANKS_CLOSERANKS_CHECKPOINT_SIGNAL_H_

namespace closeranks {

// From now on the signal is noted instead of ending the process. A handler that the program has of
// its own is left.
void HandleCheckpointSignal();

// Whether it came since the last call. From one thread.
bool TakeCheckpointSignal();

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_CHECKPOINT_SIGNAL_H_
