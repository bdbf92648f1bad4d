// A request as strangers may write it, and the range of a body that it asks for.
#include "base/check.h"
#include "http/asio.h"
#include "http/parse.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace http = boost::beast::http;
  http::request_parser<http::string_body> parser;
  parser.header_limit(4096);
  parser.body_limit(4096);
  parser.eager(true);
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(data, size), error);
  if (error || !parser.is_done()) return 0;
  const auto request = waggle::ToRequest(parser.get());
  if (!request) return 0;
  waggle::Check(request->path.front() == '/' && request->body.size() <= 4096, "what comes through");
  for (const std::uint64_t bytes : {0ull, 1ull, 1000ull, ~0ull}) {
    const waggle::RangeChoice choice = waggle::ChooseRange(request->Header("range"), bytes);
    waggle::Check(choice.begin <= choice.end && choice.end <= bytes, "a range lies in the body");
  }
  return 0;
}
