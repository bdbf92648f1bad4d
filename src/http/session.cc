#include "http/session.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/check.h"
#include "http/parse.h"

namespace waggle {
namespace {

namespace http = beast::http;
using std::chrono::milliseconds;

constexpr std::int64_t kLingerMs = 1'000;
constexpr std::size_t kLingerBytes = 4096;

class TextBody final : public HttpBody {
 public:
  explicit TextBody(std::string text) : text_(std::move(text)) {}
  std::uint64_t size() const override { return text_.size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), text_.data() + offset, out.size());
    return {};
  }

 private:
  const std::string text_;
};

// RFC 9110, 5.6.7. The process never leaves the C locale, whose names of days these are.
std::string DateText(double unix_seconds) {
  const std::time_t now = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  char text[64] = "";
  if (::gmtime_r(&now, &parts) != nullptr)
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

// A value cannot end its line, whoever wrote it.
std::string OneLine(std::string text) {
  std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return text;
}

HttpResponse Plain(int status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.text = std::move(text) + "\n";
  return response;
}

std::string LowerCase(beast::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

}  // namespace

Result<HttpRequest> ToRequest(const http::request<http::string_body>& message) {
  HttpRequest request;
  const beast::string_view target = message.target();
  WG_TRY(ParseTarget({target.data(), target.size()}, request));
  request.method = message.method() == http::verb::post   ? HttpMethod::kPost
                   : message.method() == http::verb::head ? HttpMethod::kHead
                                                          : HttpMethod::kGet;
  for (const auto& field : message)
    request.headers[LowerCase(field.name_string())] = std::string(field.value());
  request.body = message.body();
  if (message.version() >= 11 && !request.headers.contains("host"))
    return Fail(Blame::kPeer, "a request of HTTP/1.1 has a Host header");
  return request;
}

HttpSession::HttpSession(asio::ip::tcp::socket socket, PeerAddress peer,
                         std::shared_ptr<HttpHive> hive)
    : stream_(std::move(socket)),
      peer_(std::move(peer)),
      hive_(std::move(hive)),
      number_(++hive_->moments),
      since_(number_),
      buffer_(hive_->limits.header_bytes_max + hive_->limits.body_bytes_max) {
  hive_->sessions.emplace(number_, this);
  ++hive_->connections;
}

HttpSession::~HttpSession() {
  hive_->sessions.erase(number_);
  --hive_->connections;
}

void HttpSession::Start() { ReadHeader(); }

// What waits comes back with an error, and ends the session.
void HttpSession::Close() {
  closed_ = true;
  ErrorCode ignored;
  stream_.socket().close(ignored);
}

void HttpSession::AwaitRequest() {
  since_ = ++hive_->moments;
  if (buffer_.size() > 0) return ReadHeader();  // the next request came along with the last
  stream_.expires_after(milliseconds(hive_->limits.idle_ms_max));
  stream_.async_read_some(buffer_.prepare(hive_->limits.header_bytes_max),
                          [self = shared_from_this()](ErrorCode error, std::size_t bytes) {
                            if (error) return;
                            self->buffer_.commit(bytes);
                            self->ReadHeader();
                          });
}

void HttpSession::ReadHeader() {
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(hive_->limits.header_bytes_max));
  parser_->body_limit(hive_->limits.body_bytes_max);
  stream_.expires_after(milliseconds(hive_->limits.header_ms_max));
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, std::size_t) { self->OnHeader(error); });
}

void HttpSession::OnHeader(ErrorCode error) {
  if (error) return Refuse(error);
  const auto method = parser_->get().method();
  if (method != http::verb::get && method != http::verb::head && method != http::verb::post) {
    keep_alive_ = false;
    HttpResponse response = Plain(405, "only GET, HEAD and POST are known here");
    response.headers.emplace_back("Allow", "GET, HEAD, POST");
    return Reply(std::move(response), true, nullptr);
  }
  if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return ReadBody();
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](ErrorCode failed, std::size_t) {
                      if (!failed) self->ReadBody();
                    });
}

void HttpSession::ReadBody() {
  stream_.expires_after(milliseconds(hive_->limits.body_ms_max));
  http::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, std::size_t) { self->OnBody(error); });
}

void HttpSession::OnBody(ErrorCode error) {
  if (error) return Refuse(error);
  auto request = ToRequest(parser_->get());
  keep_alive_ = parser_->keep_alive() && ++requests_ < hive_->limits.requests_per_connection_max;
  parser_.reset();
  if (!request) {
    keep_alive_ = false;
    return Reply(Plain(400, request.error().what), true, nullptr);
  }
  request->peer = peer_.text;
  Answer(*request);
}

// Says why, where somebody may be listening for it.
void HttpSession::Refuse(ErrorCode error) {
  keep_alive_ = false;
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return Reply(Plain(431, "the header is too large"), true, nullptr);
  if (error == http::error::body_limit)
    return Reply(Plain(413, "the body is too large"), true, nullptr);
  if (error == beast::error::timeout)  // Beast has closed the socket
    return;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return;
  if (error.category() == http::make_error_code(http::error::bad_method).category())
    return Reply(Plain(400, "this is no HTTP/1.1: " + error.message()), true, nullptr);
}

void HttpSession::Answer(const HttpRequest& request) {
  ++hive_->requests;
  HttpResponse response = hive_->handler(request);
  Reply(std::move(response), request.method != HttpMethod::kHead, &request);
}

void HttpSession::Reply(HttpResponse response, bool with_body, const HttpRequest* request) {
  answering_ = true;
  body_ = response.body ? std::move(response.body)
                        : std::make_unique<TextBody>(std::move(response.text));
  const std::uint64_t size = body_->size();
  RangeChoice range{.end = size};
  if (request != nullptr && request->method != HttpMethod::kPost && response.status == 200) {
    const auto tag = std::find_if(response.headers.begin(), response.headers.end(),
                                  [](const auto& h) { return h.first == "ETag"; });
    const std::string wanted = request->Header("if-range");
    if (wanted.empty() || (tag != response.headers.end() && tag->second == wanted))
      range = ChooseRange(request->Header("range"), size);
    response.headers.emplace_back("Accept-Ranges", "bytes");
  }
  if (range.kind == RangeChoice::Kind::kPart) {
    response.status = 206;
    response.headers.emplace_back("Content-Range",
                                  fmt::format("bytes {}-{}/{}", range.begin, range.end - 1, size));
  } else if (range.kind == RangeChoice::Kind::kUnsatisfiable) {
    response.status = 416;
    response.headers.emplace_back("Content-Range", fmt::format("bytes */{}", size));
    range.begin = range.end = 0;
  }
  const beast::string_view reason =
      http::obsolete_reason(static_cast<http::status>(response.status));
  std::string head = fmt::format(
      "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n",
      response.status, std::string_view(reason.data(), reason.size()),
      DateText(hive_->clock.UnixSeconds()), OneLine(response.content_type), range.end - range.begin,
      keep_alive_ ? "keep-alive" : "close");
  for (const auto& [name, value] : response.headers)
    head += OneLine(name) + ": " + OneLine(value) + "\r\n";
  head += "\r\n";
  at_ = range.begin;
  end_ = with_body ? range.end : range.begin;
  out_.resize(head.size());
  std::memcpy(out_.data(), head.data(), head.size());
  if (at_ < end_ && !AddPiece()) return;
  SendPiece();
}

// False if the body cannot be read: then the connection ends, before the promised length.
bool HttpSession::AddPiece() {
  const std::size_t had = out_.size();
  const std::size_t bytes =
      static_cast<std::size_t>(std::min<std::uint64_t>(end_ - at_, hive_->limits.piece_bytes));
  out_.resize(had + bytes);
  if (!body_->Read(at_, std::span(out_).subspan(had))) {
    Close();
    return false;
  }
  at_ += bytes;
  hive_->body_bytes += bytes;
  return true;
}

void HttpSession::SendPiece() {
  stream_.expires_after(milliseconds(hive_->limits.piece_ms_max));
  asio::async_write(
      stream_, asio::buffer(out_),
      [self = shared_from_this()](ErrorCode error, std::size_t) { self->OnSent(error); });
}

void HttpSession::OnSent(ErrorCode error) {
  if (error) return;
  if (at_ < end_) {
    out_.clear();
    if (AddPiece()) SendPiece();
    return;
  }
  out_ = {};
  body_.reset();
  answering_ = false;
  if (keep_alive_) return AwaitRequest();
  ErrorCode ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(milliseconds(kLingerMs));
  Linger();
}

// Takes what the peer still sends, for a moment: closing on unread bytes would reset the connection
// and could take the answer with it.
void HttpSession::Linger() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kLingerBytes),
                          [self = shared_from_this()](ErrorCode error, std::size_t) {
                            if (!error) self->Linger();
                          });
}

}  // namespace waggle
