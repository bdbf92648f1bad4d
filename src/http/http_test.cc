// The server and the client with one another, and the server with callers that write by hand.
#include "http/test_http.h"

namespace waggle {
namespace {

using testing::Test;

// The body of a URL, and that its pieces came in order.
std::string BodyOf(const std::string& url, std::optional<HttpRange> range, HttpReply* reply) {
  std::string body;
  std::uint64_t next = range ? range->begin : 0;
  const auto got = HttpGet(url, {}, range, [&](std::uint64_t offset, auto data) -> Status {
    EXPECT_EQ(offset, next);
    next += data.size();
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    return {};
  });
  EXPECT_TRUE(got) << got.error().what;
  if (got) *reply = *got;
  return body;
}

std::string BigText(std::uint64_t begin, std::uint64_t end) {
  std::string text;
  for (std::uint64_t i = begin; i < end; ++i) text += Stripes::At(i);
  return text;
}

TEST_F(HttpTest, TextThereAndBack) {
  StartServer();
  ExpectAlive();
  const auto echoed = CallForText(
      {.method = HttpMethod::kPost, .url = Url("/echo"), .body = std::string(60'000, 'x')}, {});
  ASSERT_TRUE(echoed) << echoed.error().what;
  EXPECT_EQ(*echoed, std::string(60'000, 'x'));
}

TEST_F(HttpTest, NotFoundQuotesTheServer) {
  StartServer();
  const auto text = CallForText({.url = Url("/nowhere")}, {});
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().what.find("404: nothing is here"), std::string::npos) << text.error().what;
}

TEST_F(HttpTest, LargeBodiesAndTheirRanges) {
  StartServer();
  HttpReply reply;
  EXPECT_EQ(BodyOf(Url("/big"), std::nullopt, &reply), BigText(0, kBigBytes));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers["accept-ranges"], "bytes");
  EXPECT_EQ(BodyOf(Url("/big"), HttpRange{100'000, 300'001}, &reply), BigText(100'000, 300'001));
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(reply.headers["content-range"], "bytes 100000-300000/3000000");
  EXPECT_EQ(BodyOf(Url("/big"), HttpRange{2'999'999, {}}, &reply), BigText(2'999'999, kBigBytes));
  EXPECT_EQ(BodyOf(Url("/big"), HttpRange{kBigBytes, {}}, &reply), "");
  EXPECT_EQ(reply.status, 416);
  EXPECT_EQ(reply.headers["content-range"], "bytes */3000000");
  EXPECT_EQ(server_->counts().body_bytes, kBigBytes + 200'001 + 1);
}

TEST_F(HttpTest, HeadHasTheLengthAndNoBody) {
  StartServer();
  HttpReply reply;
  const auto got =
      CallHttp({.method = HttpMethod::kHead, .url = Url("/big")}, {},
               [](std::uint64_t, auto) -> Status { return Fail(Blame::kBug, "data"); });
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->headers.at("content-length"), "3000000");
  EXPECT_EQ(got->bytes, 0u);
}

TEST_F(HttpTest, IfRangeOfAnotherVersionGetsAll) {
  StartServer();
  const std::string ask =
      "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=0-9\r\n";
  EXPECT_NE(Exchange(ask + "If-Range: \"v1\"\r\n\r\n").find(" 206 "), std::string::npos);
  EXPECT_NE(Exchange(ask + "If-Range: \"v0\"\r\n\r\n").find(" 200 "), std::string::npos);
}

TEST_F(HttpTest, KeepAliveAndPipelining) {
  StartServer({.requests_per_connection_max = 3});
  Caller caller(server_->port());
  const std::string ask = "GET /hello?name=a HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_TRUE(caller.Say(ask));
  caller.HearUntil("hello a");
  ASSERT_TRUE(caller.Say(ask + ask + ask));
  const std::string heard = caller.HearAll();  // hangs up after three
  std::size_t answers = 0;
  for (std::size_t at = heard.find("hello a"); at != std::string::npos;
       at = heard.find("hello a", at + 1))
    ++answers;
  EXPECT_EQ(answers, 3u);
  EXPECT_EQ(server_->counts().accepted, 1u);
}

TEST_F(HttpTest, Http10IsAnsweredAndClosed) {
  StartServer();
  EXPECT_NE(Exchange("GET /hello?name=old HTTP/1.0\r\n\r\n").find("hello old"), std::string::npos);
}

TEST_F(HttpTest, ExpectContinue) {
  StartServer();
  Caller caller(server_->port());
  caller.Say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_NE(caller.HearUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  caller.Say("abc");
  EXPECT_NE(caller.HearUntil("abc").find(" 200 OK"), std::string::npos);
}

TEST_F(HttpTest, TheClientCutsWhatItDidNotAskFor) {
  // A server that knows no ranges: it sends everything.
  auto plain = HttpServer::Start("127.0.0.1:0", {}, SystemClock(), [](const HttpRequest&) {
                 HttpResponse response;
                 response.status = 203;  // 2xx, and not one whose ranges are served
                 response.body = std::make_unique<Stripes>(kBigBytes);
                 return response;
               }).value();
  HttpReply reply;
  const std::string url = fmt::format("http://127.0.0.1:{}/", plain->port());
  EXPECT_EQ(BodyOf(url, HttpRange{70'000, 70'010}, &reply), BigText(70'000, 70'010));
}

TEST_F(HttpTest, TheClientHasLimits) {
  StartServer();
  const auto big = CallForText({.url = Url("/big")}, {.body_bytes_max = 1'000'000});
  ASSERT_FALSE(big);
  EXPECT_EQ(big.error().blame, Blame::kPeer);
  const auto cut = CallForText({.url = Url("/broken")}, {});
  ASSERT_FALSE(cut) << "a body that ends early is whole";
  EXPECT_EQ(cut.error().blame, Blame::kMachine);
  const std::string url = Url("/hello?name=x");
  server_->Stop();
  const auto nobody = CallForText({.url = url}, {});
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().blame, Blame::kMachine);
}

TEST_F(HttpTest, AnErrorOfTheSinkEndsTheCall) {
  StartServer();
  const auto got = HttpGet(Url("/big"), {}, std::nullopt, [](std::uint64_t, auto) -> Status {
    return Fail(Blame::kMachine, "the disk is full");
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().what, "the disk is full");
}

TEST_F(HttpTest, AServerThatSaysNothing) {
  const int listening = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in place{.sin_family = AF_INET};
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof place;
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&place), size), 0);
  ASSERT_EQ(::listen(listening, 1), 0);
  ::getsockname(listening, reinterpret_cast<sockaddr*>(&place), &size);
  const auto text = CallForText({.url = fmt::format("http://127.0.0.1:{}/", ntohs(place.sin_port))},
                                {.header_ms_max = 50});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().blame, Blame::kMachine) << text.error().what;
  ::close(listening);
}

TEST(HttpServerStart, AddressAndLimits) {
  const auto nothing = [](const HttpRequest&) { return HttpResponse{}; };
  for (const char* bad : {"", "127.0.0.1", "127.0.0.1:x", "nowhere.invalid:0"}) {
    const auto server = HttpServer::Start(bad, {}, SystemClock(), nothing);
    ASSERT_FALSE(server) << bad;
    EXPECT_EQ(server.error().blame, Blame::kOperator);
  }
  EXPECT_FALSE(HttpServer::Start("127.0.0.1:0", {.connections_max = 0}, SystemClock(), nothing));
}

}  // namespace
}  // namespace waggle
