#include "http/client.h"

#include <boost/asio/ssl.hpp>
#include <boost/beast/ssl.hpp>

#include "http/asio.h"
#include "http/parse.h"

namespace waggle {
namespace {

namespace http = beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::size_t kTextBytesMax = 1024;

// One call: each step is started, then run until it has ended or its time is up.
class Calling {
 public:
  Calling(const HttpCall& call, HttpUrl url, const HttpClientLimits& limits, const HttpSink& sink)
      : call_(call), url_(std::move(url)), limits_(limits), sink_(sink) {}

  Result<HttpReply> Run() {
    WG_ASSIGN(const auto places, Resolve());
    if (!url_.tls) {
      beast::tcp_stream stream(io_);
      WG_TRY(Connect(stream, places));
      return Talk(stream, stream);
    }
    ssl::context context(ssl::context::tls_client);
    ErrorCode error;
    if (call_.ca_file.empty()) {
      context.set_default_verify_paths(error);
    } else {
      context.load_verify_file(call_.ca_file, error);
    }
    if (error) return Trouble("the certificate authorities", error);
    context.set_verify_mode(ssl::verify_peer);
    beast::ssl_stream<beast::tcp_stream> stream(io_, context);
    stream.set_verify_callback(ssl::host_name_verification(url_.host), error);
    if (error || SSL_set_tlsext_host_name(stream.native_handle(), url_.host.c_str()) != 1)
      return Fail(Blame::kMachine, "{}: TLS cannot be set up", url_.authority());
    WG_TRY(Connect(stream.next_layer(), places));
    WG_TRY(Wait("TLS", [&](auto done) {
      stream.async_handshake(ssl::stream_base::client, std::move(done));
    }));
    return Talk(stream, stream.next_layer());
  }

 private:
  tl::unexpected<Error> Trouble(std::string_view what, const ErrorCode& error) const {
    const bool strange =
        error.category() == http::make_error_code(http::error::bad_method).category();
    return Fail(
        strange && error != http::error::end_of_stream && error != http::error::partial_message
            ? Blame::kPeer
            : Blame::kMachine,
        "{}: {}: {}", url_.authority(), what, error.message());
  }

  // Runs what `start` begins, with an (error, ...) callback, to its end. Deadlines are those of the
  // stream: they come back as an error.
  template <class Start>
  ErrorCode Finish(Start start) {
    std::optional<ErrorCode> ended;
    start([&ended](ErrorCode error, auto&&...) { ended = error; });
    io_.restart();
    io_.run();
    return ended.value_or(asio::error::operation_aborted);
  }
  template <class Start>
  Status Wait(std::string_view what, Start start) {
    if (const ErrorCode error = Finish(std::move(start))) return Trouble(what, error);
    return {};
  }

  Result<tcp::resolver::results_type> Resolve() {
    tcp::resolver resolver(io_);
    std::optional<ErrorCode> ended;
    tcp::resolver::results_type places;
    resolver.async_resolve(url_.host, std::to_string(url_.port), tcp::resolver::numeric_service,
                           [&](ErrorCode error, tcp::resolver::results_type found) {
                             ended = error;
                             places = std::move(found);
                           });
    io_.run_for(milliseconds(limits_.connect_ms_max));
    if (!ended) {
      resolver.cancel();
      io_.restart();
      io_.run();
      ended = beast::error::timeout;
    }
    if (*ended) return Trouble("its name", *ended);
    return places;
  }

  Status Connect(beast::tcp_stream& tcp, const tcp::resolver::results_type& places) {
    tcp.expires_after(milliseconds(limits_.connect_ms_max));
    return Wait("connecting", [&](auto done) { tcp.async_connect(places, std::move(done)); });
  }

  template <class Stream>
  Result<HttpReply> Talk(Stream& stream, beast::tcp_stream& tcp) {
    const auto verb = call_.method == HttpMethod::kPost   ? http::verb::post
                      : call_.method == HttpMethod::kHead ? http::verb::head
                                                          : http::verb::get;
    http::request<http::string_body> request(verb, url_.target, 11, call_.body);
    request.set(http::field::host, url_.authority());
    request.set(http::field::user_agent, "waggle");
    request.set(http::field::connection, "close");
    for (const auto& [name, value] : call_.headers) request.set(name, value);
    if (call_.range) {
      const std::string last =
          call_.range->end ? std::to_string(std::max<std::uint64_t>(*call_.range->end, 1) - 1) : "";
      request.set(http::field::range, fmt::format("bytes={}-{}", call_.range->begin, last));
    }
    request.prepare_payload();
    tcp.expires_after(milliseconds(limits_.header_ms_max));
    WG_TRY(
        Wait("sending", [&](auto done) { http::async_write(stream, request, std::move(done)); }));
    beast::flat_buffer buffer(limits_.header_bytes_max + kPieceBytes);
    http::response_parser<http::buffer_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
    parser.body_limit(UINT64_MAX);  // counted here: what is dropped does not count
    parser.skip(call_.method == HttpMethod::kHead);
    WG_TRY(Wait("its answer", [&](auto done) {
      http::async_read_header(stream, buffer, parser, std::move(done));
    }));
    reply_.status = parser.get().result_int();
    for (const auto& field : parser.get()) {
      std::string name(field.name_string());
      for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      reply_.headers[std::move(name)] = std::string(field.value());
    }
    WG_TRY(FindPlace());
    WG_TRY(ReadBody(stream, tcp, buffer, parser));
    return std::move(reply_);
  }

  // Where the answer's first byte stands in the body.
  Status FindPlace() {
    if (reply_.status != 206) return {};
    const auto found = reply_.headers.find("content-range");
    const auto begin =
        found == reply_.headers.end() ? std::nullopt : BeginOfContentRange(found->second);
    if (!call_.range || begin != call_.range->begin)
      return Fail(Blame::kPeer, "{} answers with a part that was not asked for", url_.authority());
    at_ = *begin;
    return {};
  }

  template <class Stream, class Parser>
  Status ReadBody(Stream& stream, beast::tcp_stream& tcp, beast::flat_buffer& buffer,
                  Parser& parser) {
    std::vector<std::byte> piece(kPieceBytes);
    while (!parser.is_done() && !complete_) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      tcp.expires_after(milliseconds(limits_.stall_ms_max));
      const ErrorCode error = Finish(
          [&](auto done) { http::async_read_some(stream, buffer, parser, std::move(done)); });
      const std::size_t got = piece.size() - parser.get().body().size;
      WG_TRY(Deliver(std::span(piece).first(got)));
      if (error && error != http::error::need_buffer) return Trouble("its answer's body", error);
    }
    return {};
  }

  Status Deliver(std::span<const std::byte> data) {
    if (reply_.status / 100 != 2) {
      const auto* text = reinterpret_cast<const char*>(data.data());
      reply_.text.append(text, std::min(data.size(), kTextBytesMax - reply_.text.size()));
      complete_ = reply_.text.size() == kTextBytesMax;
      return {};
    }
    const std::uint64_t from = at_;
    at_ += data.size();
    std::uint64_t begin = from, end = at_;
    if (call_.range) {
      begin = std::max(begin, call_.range->begin);
      if (call_.range->end) {
        end = std::min(end, *call_.range->end);
        complete_ = at_ >= *call_.range->end;
      }
    }
    if (begin >= end) return {};
    if (end - begin > limits_.body_bytes_max - reply_.bytes)
      return Fail(Blame::kPeer, "{} sends more than {} bytes", url_.authority(),
                  limits_.body_bytes_max);
    reply_.bytes += end - begin;
    return sink_(begin, data.subspan(begin - from, end - begin));
  }

  const HttpCall& call_;
  const HttpUrl url_;
  const HttpClientLimits& limits_;
  const HttpSink& sink_;
  asio::io_context io_{1};
  HttpReply reply_;
  std::uint64_t at_ = 0;
  bool complete_ = false;  // all that was asked for has come, whatever else follows
};

}  // namespace

Result<HttpReply> CallHttp(const HttpCall& call, const HttpClientLimits& limits,
                           const HttpSink& sink) {
  WG_ASSIGN(HttpUrl url, ParseUrl(call.url));
  return Calling(call, std::move(url), limits, sink).Run();
}

Result<HttpReply> HttpGet(const std::string& url, const HttpClientLimits& limits,
                          std::optional<HttpRange> range, const HttpSink& sink) {
  return CallHttp({.url = url, .range = range}, limits, sink);
}

Result<std::string> CallForText(const HttpCall& call, const HttpClientLimits& limits) {
  std::string text;
  WG_ASSIGN(const HttpReply reply,
            CallHttp(call, limits, [&](std::uint64_t, std::span<const std::byte> data) -> Status {
              text.append(reinterpret_cast<const char*>(data.data()), data.size());
              return {};
            }));
  if (reply.status / 100 == 2) return text;
  std::string said = reply.text.substr(0, reply.text.find('\n'));
  return Fail(Blame::kPeer, "{} answers {}{}{}", call.url, reply.status, said.empty() ? "" : ": ",
              said);
}

}  // namespace waggle
