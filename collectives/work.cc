#include "collectives/work.h"

namespace closeranks {
namespace {

class EndedState final : public Work::State {
 public:
  explicit EndedState(Status status) : status_(std::move(status)) {}
  Status Wait() override { return status_; }
  bool IsDone() const override { return true; }

 private:
  const Status status_;
};

}  // namespace

Work Work::Ended(Status status) {
  if (status.ok()) return Work();
  return Work(std::make_shared<EndedState>(std::move(status)));
}

}  // namespace closeranks
