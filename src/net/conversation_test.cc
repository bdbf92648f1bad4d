// Frames between a server and its clients: order, limits, ends.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "net/test_net.h"

namespace waggle {
namespace {

using Kind = Event::Kind;

class Conversation : public NetTest {};

TEST_F(Conversation, FramesOfBothDirectionsArriveWholeAndInOrder) {
  StartServer({});
  auto client = Client();
  constexpr int kFrames = 2000;
  const auto frame = [](int i) {
    return std::to_string(i) + std::string(i % 7 == 0 ? i * 20 : i % 5, '\x80');
  };
  for (int i = 0; i < kFrames; ++i) ASSERT_TRUE(client->Send(AsFrame(frame(i))));
  const Event opened = ServerGets(Kind::kOpened);
  EXPECT_EQ(opened.text.substr(0, 10), "127.0.0.1:");
  for (int i = 0; i < kFrames; ++i) {
    const Event event = ServerGets(Kind::kReceived);
    ASSERT_EQ(event.bytes, frame(i));
    ASSERT_EQ(event.connection, opened.connection);
    ASSERT_TRUE(server_->Send(event.connection, event.frame()));
  }
  Expect(*client, Kind::kOpened);
  for (int i = 0; i < kFrames; ++i) ASSERT_EQ(Expect(*client, Kind::kReceived).bytes, frame(i));
  EXPECT_TRUE(client->Send({}));  // an empty frame is a frame
  EXPECT_EQ(ServerGets(Kind::kReceived).bytes, "");
  client->Close();
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kClosedHere);
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kClosedByPeer);
  EXPECT_FALSE(server_->Send(opened.connection, AsFrame("too late")));
  EXPECT_EQ(server_->load().queued_bytes, 0u);
}

TEST_F(Conversation, WhatWasSentBeforeCloseArrives) {
  StartServer({});
  auto client = Client();
  const ConnectionId id = ServerGets(Kind::kOpened).connection;
  const std::string large(3 << 20, 'x');
  ASSERT_TRUE(server_->Send(id, AsFrame(large)));
  ASSERT_TRUE(server_->Send(id, AsFrame("goodbye")));
  server_->Close(id);
  Expect(*client, Kind::kOpened);
  EXPECT_EQ(Expect(*client, Kind::kReceived).bytes.size(), large.size());
  EXPECT_EQ(Expect(*client, Kind::kReceived).bytes, "goodbye");
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kClosedByPeer);
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kClosedHere);
}

TEST_F(Conversation, TheLargestFrameArrivesAndALargerOneEndsOnlyItsConnection) {
  NetLimits limits{.frame_bytes_max = 100'000};
  StartServer(limits);
  auto honest = Client();
  const ConnectionId honest_id = ServerGets(Kind::kOpened).connection;
  ASSERT_TRUE(honest->Send(AsFrame(std::string(100'000, 'x'))));
  EXPECT_EQ(ServerGets(Kind::kReceived).bytes.size(), 100'000u);

  limits.frame_bytes_max = 32 << 20;
  auto client = Client(limits);
  ServerGets(Kind::kOpened);
  ASSERT_TRUE(client->Send(AsFrame(std::string(100'001, 'x'))));
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kFrameTooLarge);
  Expect(*client, Kind::kOpened);
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kFrameTooLarge);

  ASSERT_TRUE(server_->Send(honest_id, AsFrame("still here")));
  Expect(*honest, Kind::kOpened);
  EXPECT_EQ(Expect(*honest, Kind::kReceived).bytes, "still here");
}

// gRPC alone would gather all of it before it looks at the size.
TEST_F(Conversation, AFrameFarTooLargeIsCutOffWhileItArrives) {
  StartServer({.frame_bytes_max = 64 << 10});
  NetLimits generous{.frame_bytes_max = std::size_t{256} << 20,
                     .outbound_bytes_max = std::size_t{300} << 20,
                     .partial_bytes_max = std::size_t{512} << 20};
  auto client = Client(generous);
  ServerGets(Kind::kOpened);
  ASSERT_TRUE(client->Send(AsFrame(std::string(generous.frame_bytes_max, 'x'))));
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kFrameTooLarge);
  Expect(*client, Kind::kOpened);
  Expect(*client, Kind::kClosed);
}

TEST_F(Conversation, AClientRefusesAFrameAboveItsLimitToo) {
  StartServer({});
  NetLimits limits{.frame_bytes_max = 1000};
  auto client = Client(limits);
  const ConnectionId id = ServerGets(Kind::kOpened).connection;
  ASSERT_TRUE(server_->Send(id, AsFrame(std::string(1001, 'x'))));
  Expect(*client, Kind::kOpened);
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kFrameTooLarge);
  ServerGets(Kind::kClosed);
  auto other = Client(limits);
  const ConnectionId other_id = ServerGets(Kind::kOpened).connection;
  ASSERT_TRUE(server_->Send(other_id, AsFrame(std::string(30 << 20, 'x'))));
  Expect(*other, Kind::kOpened);
  EXPECT_EQ(Expect(*other, Kind::kClosed).reason, CloseReason::kFrameTooLarge);
}

TEST_F(Conversation, AWrongPinIsRefusedWithoutAWord) {
  StartServer({});
  Pin wrong = TestCertificate().pin;
  wrong[31] ^= 1;
  auto client = NodeClient::Connect(address(), wrong, limits_, clock_).value();
  client->Send(AsFrame("a secret"));  // false if the refusal was faster
  const Event closed = Expect(*client, Kind::kClosed);
  EXPECT_EQ(closed.reason, CloseReason::kWrongPin) << closed.text;
  EXPECT_EQ(BlameOf(closed.reason), Blame::kOperator);
  const auto fetched = client->FetchBlob({}, 0, 1, [](auto, auto) { return Status{}; });
  ASSERT_FALSE(fetched.has_value());
  EXPECT_EQ(fetched.error().failure, FetchFailure::kWrongPin);
  Event event;
  EXPECT_FALSE(server_->Next(event, 50));
  // The right pin at the same time, at the same place, is another connection.
  auto right = Client();
  Expect(*right, Kind::kOpened);
  ServerGets(Kind::kOpened);
}

// The wrong server first proves that it holds its own key; only the pin tells them apart.
TEST_F(Conversation, AnotherKeyIsRefused) {
  StartServer({});
  const Certificate other = MakeCertificate().value();
  auto client = NodeClient::Connect(address(), other.pin, limits_, clock_).value();
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kWrongPin);
}

TEST_F(Conversation, NobodyThereAndBadAddresses) {
  StartServer({});
  const std::string nobody = address();
  server_.reset();
  auto client = NodeClient::Connect(nobody, TestCertificate().pin, limits_, clock_).value();
  const Event closed = Expect(*client, Kind::kClosed);
  EXPECT_EQ(closed.reason, CloseReason::kLost);
  EXPECT_EQ(BlameOf(closed.reason), Blame::kMachine);
  for (const char* bad : {"", "host", "host:", ":1", "host:65536", "unix:/tmp/x:1", "::1:80"}) {
    const auto refused = NodeClient::Connect(bad, TestCertificate().pin, limits_, clock_);
    ASSERT_FALSE(refused.has_value()) << bad;
    EXPECT_EQ(refused.error().blame, Blame::kOperator);
    EXPECT_FALSE(NodeServer::Start(bad, TestCertificate(), limits_, nullptr, clock_).has_value());
  }
}

TEST_F(Conversation, LimitsPerAddressAndInAllHaveTheirOwnReasons) {
  StartServer({.connections_max = 3, .connections_per_address_max = 2});
  auto first = Client(), second = Client();
  ServerGets(Kind::kOpened);
  const ConnectionId id = ServerGets(Kind::kOpened).connection;
  auto third = Client();
  EXPECT_EQ(Expect(*third, Kind::kClosed).reason, CloseReason::kTooManyFromAddress);
  server_->Close(id);
  ServerGets(Kind::kClosed);
  // gRPC may still be ending the old one, whose place counts until then.
  CloseReason reason = CloseReason::kTooManyFromAddress;
  std::unique_ptr<NodeClient> again;
  while (reason == CloseReason::kTooManyFromAddress) {
    again = Client();
    Event event = {};
    ASSERT_TRUE(again->Next(event, kPatienceMs));
    reason = event.kind == Kind::kOpened ? CloseReason::kClosedHere : event.reason;
  }
  EXPECT_EQ(reason, CloseReason::kClosedHere);
  server_.reset();
  StartServer({.connections_max = 1, .connections_per_address_max = 1});
  auto only = Client();
  ServerGets(Kind::kOpened);
  EXPECT_EQ(Expect(*Client(), Kind::kClosed).reason, CloseReason::kTooManyConnections);
}

TEST_F(Conversation, SilenceIsEndedByTheClockAndOnlySilence) {
  StartServer({.first_frame_ms_max = 5000, .idle_ms_max = 60'000});
  auto talker = Client(), silent = Client();
  ServerGets(Kind::kOpened);
  ServerGets(Kind::kOpened);
  ASSERT_TRUE(talker->Send(AsFrame("hello")));
  const ConnectionId talks = ServerGets(Kind::kReceived).connection;
  clock_.AdvanceMs(5001);
  const Event silence = ServerGets(Kind::kClosed);
  EXPECT_EQ(silence.reason, CloseReason::kNoFirstFrame);
  EXPECT_NE(silence.connection, talks);
  Expect(*silent, Kind::kOpened);
  Expect(*silent, Kind::kClosed);
  ASSERT_TRUE(server_->Send(talks, AsFrame("you may stay")));
  Expect(*talker, Kind::kOpened);
  Expect(*talker, Kind::kReceived);
  clock_.AdvanceMs(60'001);
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kIdle);
  EXPECT_EQ(Expect(*talker, Kind::kClosed).reason, CloseReason::kIdle);
}

TEST_F(Conversation, APeerThatNeverReadsIsClosedAndCostsItsQueueOnly) {
  StartServer({.frame_bytes_max = 1 << 20, .outbound_bytes_max = 8 << 20});
  NetLimits deaf{.frame_bytes_max = 1 << 20, .inbound_bytes_max = 1};
  auto client = Client(deaf);  // stops reading after one frame: Next is never called
  const ConnectionId id = ServerGets(Kind::kOpened).connection;
  const std::string frame(1 << 20, 'x');
  std::size_t sent = 0;
  while (server_->Send(id, AsFrame(frame))) {
    ++sent;
    ASSERT_LE(server_->load().queued_bytes, std::size_t{8} << 20);
    ASSERT_LT(sent, 1000u);
    Event event;
    ASSERT_FALSE(server_->Next(event, 5));
  }
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kOutboundFull);
  EXPECT_TRUE(Eventually([&] { return server_->load().queued_bytes == 0; }));
  auto other = Client();
  ServerGets(Kind::kOpened);
}

TEST_F(Conversation, AFullInboundQueueStopsReadingAndLosesNothing) {
  StartServer({.frame_bytes_max = 64 << 10, .inbound_bytes_max = 256 << 10});
  auto client = Client({.frame_bytes_max = 64 << 10});
  constexpr int kFrames = 500;  // 32 MB, within the client's own queue
  const std::string filling(64'000, 'x');
  for (int i = 0; i < kFrames; ++i)
    ASSERT_TRUE(client->Send(AsFrame(std::to_string(i) + "|" + filling)));
  ServerGets(Kind::kOpened);
  Event event;
  ASSERT_TRUE(Eventually([&] {
    return server_->load().queued_bytes >= std::size_t{256} << 10 || !unexpected_.empty();
  }));
  for (int i = 0; i < kFrames; ++i) {
    if (unexpected_.empty()) {
      event = ServerGets(Kind::kReceived);
    } else {
      event = unexpected_.front();
      unexpected_.erase(unexpected_.begin());
    }
    ASSERT_EQ(event.bytes.substr(0, event.bytes.find('|')), std::to_string(i));
    ASSERT_LE(server_->load().queued_bytes, std::size_t{(256 + 65) << 10});
  }
}

TEST_F(Conversation, TwoHundredAtOnce) {
  NetLimits limits{.connections_max = 200,
                   .connections_per_address_max = 200,
                   .sockets_max = 300,
                   .sockets_per_address_max = 300};
  StartServer(limits);
  std::vector<std::unique_ptr<NodeClient>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(Client());
    ASSERT_TRUE(clients.back()->Send(AsFrame("from " + std::to_string(i))));
  }
  std::map<ConnectionId, int> heard;
  for (int opened = 0; opened < 200 || heard.size() < 200;) {
    Event event;
    ASSERT_TRUE(server_->Next(event, kPatienceMs));
    ASSERT_NE(event.kind, Kind::kClosed) << event.text;
    if (event.kind == Kind::kOpened) {
      ++opened;
    } else {
      heard[event.connection] = 1;
      ASSERT_TRUE(server_->Send(event.connection, event.frame()));
    }
  }
  EXPECT_EQ(Expect(*Client(), Kind::kClosed).reason, CloseReason::kTooManyConnections);
  for (int i = 0; i < 200; ++i) {
    Expect(*clients[i], Kind::kOpened);
    EXPECT_EQ(Expect(*clients[i], Kind::kReceived).bytes, "from " + std::to_string(i));
  }
  EXPECT_EQ(server_->load().queued_bytes, 0u);
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return server_->load().sockets == 0; }));
}

TEST_F(Conversation, StoppingEndsOpenStreamsQuickly) {
  StartServer({});
  std::vector<std::unique_ptr<NodeClient>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(Client());
  for (int i = 0; i < 8; ++i) ServerGets(Kind::kOpened);
  for (const auto& client : clients) Expect(*client, Kind::kOpened);
  const std::int64_t begin_ns = SystemClock().MonotonicNs();
  server_->Stop();
  EXPECT_LT(SystemClock().MonotonicNs() - begin_ns, 10'000'000'000);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kStopping);
    EXPECT_EQ(Expect(*clients[i], Kind::kClosed).reason, CloseReason::kStopping);
  }
  server_.reset();
}

// The server of the next test, in a process of its own: prints its port, serves until it is killed.
TEST(ServerProcess, DISABLED_Main) {
  const std::filesystem::path folder = std::getenv("WAGGLE_NET_TEST");
  const auto certificate = LoadOrMakeCertificate(folder / "node.pem", folder / "node.key");
  auto server = NodeServer::Start("127.0.0.1:0", *certificate, {}, nullptr, SystemClock()).value();
  const std::string port = std::to_string(server->port()) + "\n";
  ASSERT_EQ(::write(3, port.data(), port.size()), static_cast<ssize_t>(port.size()));
  ::close(3);
  for (Event event;;) server->Next(event, 1000);
}

TEST_F(Conversation, AServerThatIsKilledIsNoticed) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("waggle_net_test." + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  ASSERT_EQ(::setenv("WAGGLE_NET_TEST", folder.c_str(), 1), 0);
  const auto certificate = LoadOrMakeCertificate(folder / "node.pem", folder / "node.key");
  ASSERT_TRUE(certificate.has_value());
  int line[2];
  ASSERT_EQ(::pipe2(line, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, line[1], 3);
  std::string arguments[] = {"net_test", "--gtest_filter=ServerProcess.DISABLED_Main",
                             "--gtest_also_run_disabled_tests", "--gtest_brief=1"};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data(), nullptr};
  pid_t process = 0;
  ASSERT_EQ(::posix_spawn(&process, "/proc/self/exe", &actions, nullptr, argv, environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(line[1]);
  std::string port;
  for (char c = 0; ::read(line[0], &c, 1) == 1 && c != '\n';) port += c;
  ::close(line[0]);
  auto client = NodeClient::Connect("127.0.0.1:" + port, certificate->pin, {}, clock_).value();
  Expect(*client, Kind::kOpened);
  ASSERT_TRUE(client->Send(AsFrame("anybody there?")));
  ::kill(process, SIGKILL);
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kLost);
  EXPECT_FALSE(client->Send(AsFrame("hello?")));
  ::waitpid(process, nullptr, 0);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace waggle
