// Runs the schedules of all ranks on paper: an element's value is the expression it was computed
// by. For tests.
#ifndef CLOSERANKS_COLLECTIVES_SCHEDULE_SYMBOLIC_EXECUTOR_H_
#define CLOSERANKS_COLLECTIVES_SCHEDULE_SYMBOLIC_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Expressions are numbered so that equal numbers mean equal expressions, operand order included.
class Expressions {
 public:
  using Id = int32_t;
  static constexpr Id kUnset = -1;  // memory that nobody wrote

  // What the caller had at `element` of input `input` on `rank`.
  Id Leaf(int rank, int input, size_t element);
  Id Sum(Id left, Id right);
  // A finished sum (divided, if it is an average).
  Id Finished(Id sum);

  // "((r0.i0[5] + r1.i0[5]))!"
  std::string ToString(Id id) const;

 private:
  // (kind, a, b, c): leaves, sums and finished ones in one table.
  using Node = std::tuple<int, int64_t, int64_t, int64_t>;
  Id Intern(const Node& node);

  std::map<Node, Id> ids_;
  std::vector<Node> nodes_;
};

struct SymbolicRank {
  const Schedule* schedule = nullptr;
  bool in_place = false;  // the output is input 0
  std::vector<std::vector<Expressions::Id>> inputs;
  std::vector<Expressions::Id> output;  // before: its size counts; afterwards: what came out
};

// Runs `ranks` until nothing moves. Which ready step goes next, when a send looks at its memory and
// when a message lands are drawn from `random`, so that a missing dependency shows as a wrong
// expression. kInternal when a rank didn't finish, an element was read that nobody wrote, a range
// lies outside of its buffer, or a message had another size than its receive or was left over.
Status RunSymbolically(std::vector<SymbolicRank>& ranks, Expressions& expressions, Random& random);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_SCHEDULE_SYMBOLIC_EXECUTOR_H_
