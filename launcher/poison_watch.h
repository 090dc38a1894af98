// Notices when workers die one after the other of the same samples.
//
// What a lost worker was computing is computed again by the others. Where the data itself is what
// kills, as a sample that the program can't read, they would go the same way, rank by rank.
#ifndef CLOSERANKS_LAUNCHER_POISON_WATCH_H_
#define CLOSERANKS_LAUNCHER_POISON_WATCH_H_

#include <deque>
#include <optional>
#include <string>

#include "base/batch_part.h"
#include "base/member.h"

namespace closeranks::launcher {

class PoisonWatch {
 public:
  // `worker` failed by itself while it computed `part`; may be told more than once. Where another
  // one did so before it on some of the same positions of the same step: what to say of that.
  std::optional<std::string> OnFailedPart(const MemberProcess& worker, const BatchPart& part);
  // Whether a failure on `part` would be such.
  bool IsSuspect(const BatchPart& part) const { return FindEarlier(part) != nullptr; }

 private:
  struct Failure {
    MemberProcess worker;
    BatchPart part;
  };

  // Who failed on some of the same; null: nobody.
  const Failure* FindEarlier(const BatchPart& part) const;

  std::deque<Failure> failures_;  // the newest ones, the oldest first
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_POISON_WATCH_H_
