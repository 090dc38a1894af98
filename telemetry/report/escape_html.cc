#include "telemetry/report/escape_html.h"

#include <cstddef>

namespace closeranks::telemetry {
namespace {

// How many bytes the UTF-8 character at the start of `text` has; 0 when there is none. Overlong
// forms pass: a browser shows them as replacement characters, and they can't end a tag.
size_t CharacterBytes(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  size_t bytes = lead < 0x80       ? 1
                 : lead >> 5 == 6  ? 2
                 : lead >> 4 == 14 ? 3
                 : lead >> 3 == 30 ? 4
                                   : 0;
  if (bytes > text.size()) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    size_t bytes = CharacterBytes(text);
    auto lead = static_cast<unsigned char>(text[0]);
    if (lead == '&') {
      escaped += "&amp;";
    } else if (lead == '<') {
      escaped += "&lt;";
    } else if (lead == '>') {
      escaped += "&gt;";
    } else if (lead == '"') {
      escaped += "&quot;";
    } else if (lead == '\'') {
      escaped += "&#39;";
    } else if (bytes == 0 || (lead < 0x20 && lead != '\n' && lead != '\t') || lead == 0x7f) {
      escaped += "?";
    } else {
      escaped += text.substr(0, bytes);
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  return escaped;
}

}  // namespace closeranks::telemetry
