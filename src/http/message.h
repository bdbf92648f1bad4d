// Requests and responses of HTTP as plain values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace waggle {

enum class HttpMethod : std::uint8_t { kGet, kHead, kPost };

struct HttpRequest {
  HttpMethod method = HttpMethod::kGet;
  std::string target;  // as it was sent
  std::string path;    // decoded; begins with '/', has no control characters
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // names in lower case; the last of a name counts
  std::string body;
  std::string peer;  // address, with the port

  // The value of a header, or "".
  std::string Header(const std::string& lower_case_name) const;
};

// What a response is made of, read piece by piece while it is sent. Used by one thread at a time.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  virtual std::uint64_t size() const = 0;
  // Fills all of `out`. REQUIRES offset + out.size() <= size(). An error cuts the response short,
  // which the peer notices by its length; what the error says stays here.
  virtual Status Read(std::uint64_t offset, std::span<std::byte> out) = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string text;                                          // the body, unless there is a `body`
  std::unique_ptr<HttpBody> body;                            // ranges of it are served on request
  std::vector<std::pair<std::string, std::string>> headers;  // further ones
};

// [begin, end) of a body.
struct HttpRange {
  std::uint64_t begin = 0;
  std::optional<std::uint64_t> end;  // none: to its end
};

}  // namespace waggle
