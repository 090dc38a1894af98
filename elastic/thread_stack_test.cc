#include "elastic/thread_stack.h"

#include <future>
#include <thread>

#include "gtest/gtest.h"

namespace closeranks::elastic {

// Not static, so that the dynamic linker knows its name.
__attribute__((noinline)) void WaitsForTheTest(std::promise<pid_t>& begun,
                                               std::future<void>& done) {
  begun.set_value(ThisThread());
  done.wait();
  // Something after it, so that the frame stays.
  asm volatile("" ::: "memory");
}

namespace {

std::string AwaitStack() {
  while (true) {
    if (auto stack = TakeStack()) return *stack;
    std::this_thread::yield();
  }
}

TEST(ThreadStack, NamesTheFunctionsThatTheThreadIsIn) {
  for (int time = 0; time < 3; ++time) {
    std::promise<pid_t> begun;
    std::promise<void> end;
    std::future<void> done = end.get_future();
    std::thread thread([&] { WaitsForTheTest(begun, done); });
    const pid_t number = begun.get_future().get();
    AskForStack(number);
    const std::string stack = AwaitStack();
    EXPECT_NE(stack.find("closeranks::elastic::WaitsForTheTest("), std::string::npos) << stack;
    EXPECT_EQ(stack.find("OnSignal"), std::string::npos) << stack;
    end.set_value();
    thread.join();
  }
}

TEST(ThreadStack, WhatWasGivenUpIsAskedForAgain) {
  std::promise<pid_t> begun;
  std::thread([&] { begun.set_value(ThisThread()); }).join();
  AskForStack(begun.get_future().get());  // it is gone
  EXPECT_EQ(TakeStack(), std::nullopt);
  GiveUpStack();
  AskForStack(ThisThread());
  EXPECT_NE(AwaitStack().find("testing::Test::Run()"), std::string::npos);
}

}  // namespace
}  // namespace closeranks::elastic
