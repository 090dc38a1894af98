// Text that comes from outside, made harmless in a page.
#ifndef CLOSERANKS_TELEMETRY_REPORT_ESCAPE_HTML_H_
#define CLOSERANKS_TELEMETRY_REPORT_ESCAPE_HTML_H_

#include <string>
#include <string_view>

namespace closeranks::telemetry {

// `text` for use between tags and inside of quoted attributes. Control characters, and bytes that
// aren't ASCII where the text isn't UTF-8, become "?".
std::string EscapeHtml(std::string_view text);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_ESCAPE_HTML_H_
