// What all workers of a job must have in common: where it differs they would train different
// things, or not end up with the same bits.
#ifndef CLOSERANKS_RENDEZVOUS_TERMS_H_
#define CLOSERANKS_RENDEZVOUS_TERMS_H_

#include <string>

#include "base/bytes.h"

namespace closeranks::rendezvous {

// Of all its fields together.
inline constexpr size_t kMaxTermsBytes = 8192;

struct Terms {
  std::string build;          // names compiler, version and commit of the binary
  std::string kernels;        // the reduction kernels in use, as they decide the bits
  std::string configuration;  // the settings that must be equal everywhere: name=value name=value
  bool operator==(const Terms&) const = default;
  size_t bytes() const { return build.size() + kernels.size() + configuration.size(); }
};

// "WHAT differs: A has 'x', B has 'y'", where `a` and `b` are their names; empty when nothing does.
// Of a configuration only the words that differ are shown.
std::string Difference(const std::string& a, const Terms& terms_of_a, const std::string& b,
                       const Terms& terms_of_b);

void Encode(const Terms& terms, ByteWriter& writer);
Terms DecodeTerms(ByteReader& reader);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_TERMS_H_
