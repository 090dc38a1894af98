#include "rendezvous/terms.h"

namespace closeranks::rendezvous {
namespace {

struct Field {
  const char* name;
  std::string Terms::*value;
};
constexpr Field kFields[] = {{"build", &Terms::build},
                             {"CPU kernels", &Terms::kernels},
                             {"configuration", &Terms::configuration}};

}  // namespace

std::string Difference(const std::string& a, const Terms& terms_of_a, const std::string& b,
                       const Terms& terms_of_b) {
  for (const Field& field : kFields) {
    const std::string& of_a = terms_of_a.*field.value;
    const std::string& of_b = terms_of_b.*field.value;
    if (of_a == of_b) continue;
    return std::string(field.name) + " differs: " + a + " has '" + of_a + "', " + b + " has '" +
           of_b + "'";
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
