// Callers that do not follow the protocol, or not to its end: each meets a limit, and an honest
// caller notices nothing.
#include <list>

#include "http/test_http.h"

namespace waggle {
namespace {

TEST_F(HttpTest, SlowLorisDies) {
  StartServer({.header_ms_max = 300});
  Caller caller(server_->port());
  // A byte every 10 ms would keep a deadline between bytes from ever passing.
  std::string header = "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ";
  bool cut = false;
  for (int i = 0; i < kPatienceSeconds * 100 && !cut; ++i) {
    cut = !caller.Say(i < static_cast<int>(header.size()) ? header.substr(i, 1) : "a");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(cut);
  EXPECT_TRUE(Eventually([&] { return server_->counts().connections == 0; }));
  ExpectAlive();
}

TEST_F(HttpTest, SilentAndHalfClosedCallersEnd) {
  StartServer({.header_ms_max = 200, .idle_ms_max = 200});
  Caller silent(server_->port());
  EXPECT_EQ(silent.HearAll(), "");
  Caller half(server_->port());
  half.Say("GET /hello?na");
  half.HalfClose();
  EXPECT_EQ(half.HearAll(), "");
  Caller kept(server_->port());  // asks once, then nothing more
  kept.Say("GET /hello?name=x HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(kept.HearAll().find("hello x"), std::string::npos);
  Caller asked(server_->port());  // a whole request before the half-close is answered
  asked.Say("GET /hello?name=y HTTP/1.1\r\nHost: x\r\n\r\n");
  asked.HalfClose();
  EXPECT_NE(asked.HearAll().find("hello y"), std::string::npos);
}

TEST_F(HttpTest, GiantHeaders) {
  StartServer({.header_bytes_max = 4096});
  EXPECT_NE(Exchange("GET / HTTP/1.1\r\nX: " + std::string(1 << 20, 'x')).find(" 431 "),
            std::string::npos);
  EXPECT_NE(Exchange("GET /" + std::string(1 << 20, 'x')).find(" 431 "), std::string::npos);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 10'000; ++i) many += "X: y\r\n";
  EXPECT_NE(Exchange(many).find(" 431 "), std::string::npos);
  ExpectAlive();
}

TEST_F(HttpTest, EndlessBodies) {
  StartServer({.body_bytes_max = 1000});
  EXPECT_NE(
      Exchange("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").find(" 413 "),
      std::string::npos);
  EXPECT_NE(
      Exchange("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n")
          .find("HTTP/1.1 4"),
      std::string::npos);
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) chunks += "40\r\n" + std::string(64, 'x') + "\r\n";
  EXPECT_NE(Exchange(chunks).find(" 413 "), std::string::npos);
  ExpectAlive();
}

TEST_F(HttpTest, ABodyThatDoesNotCome) {
  StartServer({.body_ms_max = 200});
  Caller caller(server_->port());
  caller.Say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(caller.HearAll(), "");
}

TEST_F(HttpTest, NoHttp) {
  StartServer();
  for (const char* bad :
       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n" /* no host */, "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://other/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
    EXPECT_NE(Exchange(bad).find("HTTP/1.1 400 "), std::string::npos) << bad;
  }
  EXPECT_NE(Exchange("DELETE /big HTTP/1.1\r\nHost: x\r\n\r\n").find(" 405 "), std::string::npos);
  ExpectAlive();
}

TEST_F(HttpTest, AReaderThatStopsReadingIsCut) {
  StartServer({.piece_ms_max = 300});
  Caller caller(server_->port());
  caller.Say("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(Eventually([&] { return server_->counts().requests == 1; }));
  EXPECT_TRUE(Eventually([&] { return server_->counts().connections == 0; }));
  EXPECT_LT(server_->counts().body_bytes, kEndlessBytes);
  ExpectAlive();
}

TEST_F(HttpTest, AThousandSilentConnections) {
  StartServer(
      {.connections_max = 100, .connections_per_address_max = 50, .header_ms_max = 600'000});
  std::list<Caller> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.emplace_back(server_->port());
    if (i % 200 == 199) ExpectAlive();  // a newcomer that speaks is heard all the while
  }
  EXPECT_TRUE(Eventually([&] { return server_->counts().accepted == 1005; }));
  EXPECT_LE(server_->counts().connections, 51u);
  EXPECT_GE(server_->counts().turned_away, 950u);
  ExpectAlive();
  server_->Stop();
  for (Caller& caller : crowd) EXPECT_EQ(caller.HearAll(), "");
}

// All that share the limit are being answered: nobody is cut off in the middle of an answer.
TEST_F(HttpTest, NewcomersDoNotCutAnswers) {
  StartServer({.connections_per_address_max = 2});
  Caller one(server_->port()), two(server_->port());
  for (Caller* caller : {&one, &two}) {
    caller->Say("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_NE(caller->HearUntil("200 OK").find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(Exchange("GET /hello?name=x HTTP/1.1\r\nHost: x\r\n\r\n"), "");
  EXPECT_EQ(server_->counts().turned_away, 1u);
}

}  // namespace
}  // namespace waggle
