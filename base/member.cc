#include "base/member.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace closeranks {

Incarnation Incarnation::Draw(Random& random) {
  Incarnation drawn;
  do {
    drawn = {random.Next(), random.Next()};
  } while (drawn.IsNone());
  return drawn;
}

std::string Incarnation::ToString() const {
  std::array<char, 33> text;
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text.data();
}

std::string Incarnation::ToShortString() const { return ToString().substr(0, 8); }

int World::RankOf(MemberId member) const {
  auto found = std::find_if(ranks.begin(), ranks.end(),
                            [member](const MemberProcess& p) { return p.member == member; });
  return found == ranks.end() ? -1 : static_cast<int>(found - ranks.begin());
}

int World::RankOf(const MemberProcess& process) const {
  int rank = RankOf(process.member);
  return rank >= 0 && ranks[rank] == process ? rank : -1;
}

std::ostream& operator<<(std::ostream& out, const Incarnation& incarnation) {
  return out << incarnation.ToShortString();
}

std::ostream& operator<<(std::ostream& out, const MemberProcess& process) {
  return out << process.member << "(" << process.incarnation << ")";
}

std::ostream& operator<<(std::ostream& out, const World& world) {
  out << "gen " << world.generation << ":";
  for (const MemberProcess& process : world.ranks) out << " " << process;
  return out;
}

}  // namespace closeranks
