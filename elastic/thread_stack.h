// Where another thread of this process is at the moment, for people.
//
// The thread is interrupted by a real-time signal, whose handler notes its stack in memory that is
// there already; names are looked up by who asked. One request at a time, of one thread: that is
// who asks, takes and gives up.
#ifndef CLOSERANKS_ELASTIC_THREAD_STACK_H_
#define CLOSERANKS_ELASTIC_THREAD_STACK_H_

#include <sys/types.h>

#include <optional>
#include <string>

namespace closeranks::elastic {

// The calling thread's number, as AskForStack wants it.
pid_t ThisThread();

// Nothing comes of it where the program has taken the signal for itself, or the thread is gone.
void AskForStack(pid_t thread);
// A line for each frame, the innermost first; none as long as the thread hasn't answered, which one
// that waits in the kernel without being interruptible doesn't.
std::optional<std::string> TakeStack();
// What is still answered is forgotten.
void GiveUpStack();

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_THREAD_STACK_H_
