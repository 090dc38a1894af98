#include "rendezvous/terms.h"

#include <iterator>
#include <set>
#include <sstream>

namespace closeranks::rendezvous {
namespace {

struct Field {
  const char* name;
  std::string Terms::*value;
};
constexpr Field kFields[] = {{"build", &Terms::build},
                             {"CPU kernels", &Terms::kernels},
                             {"configuration", &Terms::configuration}};

std::set<std::string> Words(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

// The words of `text` that `other` doesn't have.
std::string OwnWords(const std::string& text, const std::string& other) {
  const std::set<std::string> theirs = Words(other);
  std::string own;
  for (const std::string& word : Words(text)) {
    if (!theirs.contains(word)) own += (own.empty() ? "" : " ") + word;
  }
  return own;
}

}  // namespace

std::string Difference(const std::string& a, const Terms& terms_of_a, const std::string& b,
                       const Terms& terms_of_b) {
  for (const Field& field : kFields) {
    const std::string& of_a = terms_of_a.*field.value;
    const std::string& of_b = terms_of_b.*field.value;
    if (of_a == of_b) continue;
    // Of a long configuration only what differs is of use.
    const bool words = field.value == &Terms::configuration;
    return std::string(field.name) + " differs: " + a + " has '" +
           (words ? OwnWords(of_a, of_b) : of_a) + "', " + b + " has '" +
           (words ? OwnWords(of_b, of_a) : of_b) + "'";
  }
  return "";
}

void Encode(const Terms& terms, ByteWriter& writer) {
  for (const Field& field : kFields) writer.PutString(terms.*field.value);
}

Terms DecodeTerms(ByteReader& reader) {
  Terms terms;
  for (const Field& field : kFields) terms.*field.value = reader.GetString();
  return terms;
}

}  // namespace closeranks::rendezvous
