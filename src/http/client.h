// Calls over HTTP/1.1, with TLS for https:// (the system's certificate authorities).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/limits.h"
#include "http/message.h"

namespace waggle {

struct HttpCall {
  HttpMethod method = HttpMethod::kGet;
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<HttpRange> range;
  std::string ca_file;  // PEM: the authorities to trust instead of the system's
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string text;         // of an answer that is not 2xx, its first KiB; else empty
  std::uint64_t bytes = 0;  // that the sink was given
};

// Pieces of the body, in order; `offset` counts from the body's first byte, not the range's. Runs
// on the caller's thread; an error from it ends the call and is what the call returns.
using HttpSink = std::function<Status(std::uint64_t offset, std::span<const std::byte> data)>;

// One call on one connection; blocks. The sink gets the body of a 2xx answer only, and of that no
// more than the range: a server that ignores ranges sends all, and what was not asked for is
// dropped. Redirects are answers like others. A status that is not 2xx is no error.
// Blame::kOperator: the URL. kMachine: unreachable, silent or cut off. kPeer: no HTTP, wrong
// lengths, beyond the limits.
Result<HttpReply> CallHttp(const HttpCall& call, const HttpClientLimits& limits,
                           const HttpSink& sink);

// A range of `url`, or all of it.
Result<HttpReply> HttpGet(const std::string& url, const HttpClientLimits& limits,
                          std::optional<HttpRange> range, const HttpSink& sink);

// The body as text; an answer that is not 2xx is an error of Blame::kPeer that quotes it.
Result<std::string> CallForText(const HttpCall& call, const HttpClientLimits& limits);

}  // namespace waggle
