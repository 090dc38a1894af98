#include "tests/simulation/fiber.h"

#include <sys/mman.h>

#include <utility>
#include <vector>

#include "glog/logging.h"

namespace closeranks::simulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;

Fiber* current = nullptr;

// Kept for the next fiber: mapping one and touching its pages costs more than a short run on it.
std::vector<void*>& FreeStacks() {
  static auto* stacks = new std::vector<void*>();
  return *stacks;
}

void* TakeStack() {
  if (!FreeStacks().empty()) {
    void* stack = FreeStacks().back();
    FreeStacks().pop_back();
    return stack;
  }
  void* stack =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack != MAP_FAILED);
  CHECK_EQ(mprotect(stack, kGuardBytes, PROT_NONE), 0);  // an overflow ends here
  return stack;
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {}

Fiber::~Fiber() {
  CHECK(has_ended_ || !has_begun_) << "a fiber is destroyed in the middle of its run";
  if (stack_ != nullptr) FreeStacks().push_back(stack_);
}

void Fiber::Resume() {
  CHECK(current == nullptr && !has_ended_);
  if (!std::exchange(has_begun_, true)) {
    stack_ = TakeStack();
    CHECK_EQ(getcontext(&own_), 0);
    own_.uc_stack.ss_sp = stack_;
    own_.uc_stack.ss_size = kStackBytes;
    own_.uc_link = &resumer_;
    makecontext(&own_, &Fiber::Enter, 0);
  }
  current = this;
  CHECK_EQ(swapcontext(&resumer_, &own_), 0);
  current = nullptr;
}

void Fiber::Enter() {
  current->body_();
  current->has_ended_ = true;
}

void Fiber::Park() {
  Fiber* fiber = current;
  CHECK(fiber != nullptr) << "only a fiber can wait in a simulation";
  CHECK_EQ(swapcontext(&fiber->own_, &fiber->resumer_), 0);
}

Fiber* Fiber::Current() { return current; }

}  // namespace closeranks::simulation
