// What every algorithm is told, and how it cuts elements into pieces.
#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_SHAPE_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_SHAPE_H_

#include <algorithm>
#include <cstddef>

namespace closeranks::collectives {

struct Shape {
  int rank = 0;
  int size = 1;
  size_t count = 0;       // elements of the operation, as its caller gave it
  size_t chunk = 1;       // elements of a message at most; positive
  bool in_place = false;  // input 0 is the output
};

struct ElementRange {
  size_t begin = 0;
  size_t end = 0;
  size_t count() const { return end - begin; }
};

// Part `part` of `count` elements in `parts` nearly equal parts.
inline ElementRange PartOf(size_t count, int parts, int part) {
  const size_t each = count / parts;
  const size_t more = count % parts;  // the first `more` parts have one more
  const size_t p = static_cast<size_t>(part);
  const size_t begin = each * p + std::min(p, more);
  return {begin, begin + each + (p < more ? 1 : 0)};
}

inline size_t ChunksOf(ElementRange range, size_t chunk) {
  return (range.count() + chunk - 1) / chunk;
}

// The k-th piece of at most `chunk` elements of `range`; empty beyond its end.
inline ElementRange ChunkOf(ElementRange range, size_t chunk, size_t k) {
  const size_t begin = std::min(range.end, range.begin + k * chunk);
  return {begin, std::min(range.end, begin + chunk)};
}

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_SHAPE_H_
