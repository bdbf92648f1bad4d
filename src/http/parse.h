// The pieces of HTTP that are read from strangers' bytes. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace waggle {

// Path and query of a request target in origin form. Blame::kPeer.
Status ParseTarget(std::string_view target, HttpRequest& request);

// "%41" becomes "A"; nothing for a broken escape. `plus_is_space`: as in a query.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space);

// What to send of a body of `size` bytes for a Range header (RFC 9110, 14.2): one range of bytes.
// Anything else (several ranges, other units, nonsense) is as if the header were not there.
struct RangeChoice {
  enum class Kind { kAll, kPart, kUnsatisfiable } kind = Kind::kAll;
  std::uint64_t begin = 0, end = 0;  // [begin, end)
};
RangeChoice ChooseRange(std::string_view header, std::uint64_t size);

struct HttpUrl {
  bool tls = false;
  std::string host;  // without brackets
  std::uint16_t port = 0;
  std::string target;  // "/..." with the query
  std::string authority() const;
};
// http://host[:port][/path][?query] or https://. No user, no fragment. Blame::kOperator.
Result<HttpUrl> ParseUrl(std::string_view url);

// "bytes 5-9/100" or "bytes 5-9/*" of a reply's Content-Range: its first byte.
std::optional<std::uint64_t> BeginOfContentRange(std::string_view header);

}  // namespace waggle
