// Who takes part: the words that every layer shares. docs/design.md has them in prose.
#ifndef CLOSERANKS_BASE_MEMBER_H_
#define CLOSERANKS_BASE_MEMBER_H_

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "base/random.h"

namespace closeranks {

// A stable identity: the index of a worker in its job (a Job's completion index). Not a rank: a
// rank is a member's place among those that are alive in one generation.
using MemberId = int32_t;

// The number of an agreed world. 0 is before any agreement; the first agreed one is 1.
using Generation = uint64_t;

// The number of an optimizer update, for the life of the job. The first update is step 1; a worker
// whose "applied step" is 0 has its initial state.
using StepNumber = uint64_t;

// 128 random bits, drawn anew at each start of a process. All zero means none.
struct Incarnation {
  uint64_t high = 0;
  uint64_t low = 0;

  static Incarnation Draw(Random& random);
  bool IsNone() const { return high == 0 && low == 0; }
  // 32 hexadecimal digits.
  std::string ToString() const;
  // The first 8 of them, for log lines.
  std::string ToShortString() const;

  auto operator<=>(const Incarnation&) const = default;
};

// One process of one member.
struct MemberProcess {
  MemberId member = -1;
  Incarnation incarnation;
  auto operator<=>(const MemberProcess&) const = default;
};

// The workers of one generation, in ascending order of member; the index in `ranks` is the rank.
struct World {
  Generation generation = 0;
  std::vector<MemberProcess> ranks;

  int size() const { return static_cast<int>(ranks.size()); }
  // The rank of `member`, or -1.
  int RankOf(MemberId member) const;
  // The rank of exactly this process, or -1.
  int RankOf(const MemberProcess& process) const;
  bool operator==(const World&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Incarnation& incarnation);
std::ostream& operator<<(std::ostream& out, const MemberProcess& process);
// "gen 3: 0(1a2b3c4d) 2(5e6f7a8b)"
std::ostream& operator<<(std::ostream& out, const World& world);

}  // namespace closeranks

template <>
struct std::hash<closeranks::Incarnation> {
  size_t operator()(const closeranks::Incarnation& incarnation) const {
    return static_cast<size_t>(incarnation.high ^ incarnation.low);
  }
};

#endif  // CLOSERANKS_BASE_MEMBER_H_
