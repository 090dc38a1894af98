// The `closeranks` program as it is called.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <regex>
#include <string>
#include <utility>

#include "closeranks/version.h"
#include "gtest/gtest.h"

namespace closeranks::cli {
namespace {

struct Ended {
  int code = -1;
  std::string output;  // both streams, unless they were redirected otherwise
};

Ended Call(const std::string& arguments, const std::string& redirections = "2>&1") {
  FILE* stream = popen(("cli/closeranks " + arguments + " " + redirections).c_str(), "r");
  Ended ended;
  std::array<char, 1024> chunk;
  while (size_t got = fread(chunk.data(), 1, chunk.size(), stream)) {
    ended.output.append(chunk.data(), got);
  }
  ended.code = WEXITSTATUS(pclose(stream));
  return ended;
}

TEST(Program, SaysInOneLineWhichVersionAndBuildItIs) {
  Ended ended = Call("--version");
  EXPECT_EQ(ended.code, 0);
  EXPECT_TRUE(
      std::regex_match(ended.output, std::regex("closeranks " + std::string(kVersion) +
                                                R"( \(g\+\+ [^()]+, program [0-9a-f]{16,}\)\n)")))
      << ended.output;
  EXPECT_EQ(Call("run --version").output, ended.output);
  EXPECT_EQ(Call("run --version").code, 0);
}

TEST(Program, HelpListsItsOwnFlagsAndIsNoError) {
  Ended help = Call("run --help");
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.output.find("usage: closeranks run [FLAGS] -- PROGRAM ARGS\n"), 0u) << help.output;
  EXPECT_NE(help.output.find("\n  --max-restarts=3\n"), std::string::npos) << help.output;
  EXPECT_EQ(help.output.find("minloglevel"), std::string::npos) << help.output;
  Ended all = Call("run --helpfull");
  EXPECT_EQ(all.code, 0);
  EXPECT_NE(all.output.find("minloglevel"), std::string::npos) << all.output;
}

TEST(Program, WhatAWorkerWritesGoesToTheSameStreamAfterItsNumber) {
  const std::string run = "run -n 2 -- sh -c 'echo out; echo err >&2'";
  for (const auto& [redirections, line] :
       {std::pair("2>/dev/null", "out"), {"2>&1 >/dev/null | grep -v none.joined", "err"}}) {
    std::string output = Call(run, redirections).output;
    const std::string zero = std::string("[0] ") + line + "\n";
    const std::string one = std::string("[1] ") + line + "\n";
    EXPECT_TRUE(output == zero + one || output == one + zero) << output;
  }
}

TEST(Program, HelpSaysWhatTheNumberBeforeALineIs) {
  EXPECT_NE(Call("run --help").output.find("the RANK\nthat it was started with"),
            std::string::npos);
}

TEST(Program, AFlagThatIsntThereIsNamed) {
  Ended ended = Call("run --frobnicate -- true");
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.output.find("'frobnicate'"), std::string::npos) << ended.output;
}

TEST(Program, ACommandThatIsntThereIsNamed) {
  Ended ended = Call("dance");
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.output.find("closeranks: there is no command 'dance'\n"), 0u) << ended.output;
}

}  // namespace
}  // namespace closeranks::cli
