#include "base/member.h"

#include <algorithm>

#include "base/hexadecimal.h"

namespace closeranks {

Incarnation Incarnation::Draw(Random& random) {
  Incarnation drawn;
  do {
    drawn = {random.Next(), random.Next()};
  } while (drawn.IsNone());
  return drawn;
}

std::string Incarnation::ToString() const { return Hexadecimal(high) + Hexadecimal(low); }

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
