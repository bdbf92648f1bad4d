// Callers that do not follow the protocol, or not to its end: each is shut out within the limits,
// and an honest client that talks all the while notices nothing.
#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>

#include "base/philox.h"
#include "net/test_net.h"
#include "net/tls.h"
#include "node.grpc.pb.h"

namespace waggle {
namespace {

using Kind = Event::Kind;

// --- just enough HTTP/2 (RFC 9113, 4.1) and HPACK without compression (RFC 7541, 6.2.2) ---------
std::string Http2Frame(char type, char flags, char stream, std::string_view payload) {
  const auto byte = [](std::size_t value) { return static_cast<char>(value & 255); };
  std::string frame = {byte(payload.size() >> 16),
                       byte(payload.size() >> 8),
                       byte(payload.size()),
                       type,
                       flags,
                       0,
                       0,
                       0,
                       stream};
  return frame.append(payload);
}
std::string Header(std::string_view name, std::string_view value) {
  std::string text(1, '\0');
  text += static_cast<char>(name.size());
  text += name;
  text += static_cast<char>(value.size());
  return text.append(value);
}
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Http2Frame(4, 0, 0, "");
std::string CallOf(const std::string& path) {
  return Http2Frame(1, 4, 1,
                    Header(":method", "POST") + Header(":scheme", "https") + Header(":path", path) +
                        Header(":authority", "x") + Header("content-type", "application/grpc") +
                        Header("te", "trailers"));
}
const std::string kConverse = CallOf("/waggle.v1.Node/Converse");
// A message of 1 GiB begins; `bytes` of it follow.
std::string BeginOfMessage(std::size_t bytes) {
  std::string wire;
  std::string data = std::string("\0\x40\0\0\0", 5) + std::string(bytes - 5, 'x');
  for (std::size_t at = 0; at < data.size(); at += 16384)
    wire += Http2Frame(0, 0, 1, std::string_view(data).substr(at, 16384));
  return wire;
}

class Hostile : public NetTest {
 protected:
  void StartWithHonest(NetLimits limits) {
    limits.first_frame_ms_max = 5000;
    limits.idle_ms_max = 3'600'000;
    StartServer(limits);
    honest_ = Client();
    honest_id_ = ServerGets(Kind::kOpened).connection;
    ASSERT_TRUE(honest_->Send(AsFrame("hello")));
    ServerGets(Kind::kReceived);
    Expect(*honest_, Kind::kOpened);
    Echo();
  }
  void Echo() {
    ASSERT_TRUE(server_->Send(honest_id_, AsFrame("ping")));
    EXPECT_EQ(Expect(*honest_, Kind::kReceived).bytes, "ping");
    ASSERT_TRUE(honest_->Send(AsFrame("pong")));
    EXPECT_EQ(ServerGets(Kind::kReceived).bytes, "pong");
  }
  void OnlyHonestRemains() {
    EXPECT_TRUE(Eventually([&] { return server_->load().sockets == 1; }));
    EXPECT_TRUE(unexpected_.empty());
    Echo();
  }

  std::unique_ptr<NodeClient> honest_;
  ConnectionId honest_id_{};
};

TEST_F(Hostile, GarbageInsteadOfTls) {
  StartWithHonest({});
  RawCaller caller(server_->port());
  caller.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(caller.WaitForEnd());
  OnlyHonestRemains();
}

TEST_F(Hostile, SilenceAtEachStageIsEndedByTheClock) {
  StartWithHonest({});
  RawCaller tcp(server_->port()), tls(server_->port()), http(server_->port());
  ASSERT_TRUE(tls.StartTls());
  ASSERT_TRUE(http.StartTls());
  ASSERT_TRUE(http.Say(kPreface));
  EXPECT_TRUE(Eventually([&] { return server_->load().sockets == 4; }));
  Echo();
  clock_.AdvanceMs(5001);
  EXPECT_TRUE(tcp.WaitForEnd());
  EXPECT_TRUE(tls.WaitForEnd());
  EXPECT_TRUE(http.WaitForEnd());
  OnlyHonestRemains();
}

TEST_F(Hostile, ACallThatSaysNothingAndOneThatNeverFinishes) {
  StartWithHonest({});
  for (const std::string& rest : {std::string(), BeginOfMessage(100)}) {
    RawCaller caller(server_->port());
    ASSERT_TRUE(caller.StartTls());
    ASSERT_TRUE(caller.Say(kPreface + kConverse + rest));
    const ConnectionId id = ServerGets(Kind::kOpened).connection;
    Echo();
    clock_.AdvanceMs(5001);
    const Event closed = ServerGets(Kind::kClosed);
    EXPECT_EQ(closed.connection, id);
    EXPECT_EQ(closed.reason, CloseReason::kNoFirstFrame);
    EXPECT_TRUE(caller.WaitForEnd());
    OnlyHonestRemains();
  }
}

TEST_F(Hostile, UnfinishedFramesCountTogetherAndTheGreatestHolderGoes) {
  StartWithHonest({.frame_bytes_max = 64 << 10, .partial_bytes_max = 100 << 10});
  RawCaller small(server_->port()), large(server_->port());
  ASSERT_TRUE(small.StartTls() && large.StartTls());
  ASSERT_TRUE(small.Say(kPreface + kConverse + BeginOfMessage(45'000)));
  const ConnectionId small_id = ServerGets(Kind::kOpened).connection;
  EXPECT_TRUE(Eventually([&] { return server_->load().partial_bytes > 45'000; }));
  large.Say(kPreface + kConverse + BeginOfMessage(60'000));
  EXPECT_NE(ServerGets(Kind::kOpened).connection, small_id);
  const Event closed = ServerGets(Kind::kClosed);
  EXPECT_NE(closed.connection, small_id);
  EXPECT_EQ(closed.reason, CloseReason::kPartialBytes);
  EXPECT_TRUE(large.WaitForEnd());
  Echo();
}

TEST_F(Hostile, TooManySocketsFromOneAddress) {
  StartWithHonest({.connections_per_address_max = 2, .sockets_per_address_max = 4});
  std::vector<std::unique_ptr<RawCaller>> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(std::make_unique<RawCaller>(server_->port()));
  EXPECT_TRUE(Eventually([&] { return server_->load().sockets == 4; }));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(RawCaller(server_->port()).WaitForEnd());
  Echo();
  kept.clear();
  OnlyHonestRemains();
}

TEST_F(Hostile, CallersThatHangUpAtOnceAreOpenedAndClosedOnce) {
  StartWithHonest({.connections_max = 20, .connections_per_address_max = 20});
  std::map<ConnectionId, std::vector<Event>> told;
  std::size_t closed = 0;
  const auto take = [&] {
    Event event;
    ASSERT_TRUE(server_->Next(event, kPatienceMs));
    closed += event.kind == Kind::kClosed;
    told[event.connection].push_back(std::move(event));
  };
  for (int i = 0; i < 10 && !HasFatalFailure(); ++i) {
    RawCaller caller(server_->port());
    ASSERT_TRUE(caller.StartTls());
    ASSERT_TRUE(caller.Say(kPreface + kConverse));
    // Until it is known here; the end of the one before may come first, or later.
    for (const std::size_t before = told.size(); told.size() == before && !HasFatalFailure();)
      take();
  }
  while (closed < 10 && !HasFatalFailure()) take();
  EXPECT_EQ(told.size(), 10u);
  for (const auto& [id, events] : told) {
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].kind, Kind::kOpened);
    EXPECT_EQ(events[1].kind, Kind::kClosed);
    EXPECT_EQ(events[1].reason, CloseReason::kLost);
  }
  OnlyHonestRemains();
}

TEST_F(Hostile, CompressionASecondConversationAndOtherCallsAreRefused) {
  StartWithHonest({});
  const auto wrong = std::make_shared<std::atomic<bool>>(false);
  const auto channel = grpc::CreateChannel(address(), PinnedTls(TestCertificate().pin, wrong));
  const auto stub = v1::Node::NewStub(channel);
  v1::Frame frame;
  {
    grpc::ClientContext context;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    const auto stream = stub->Converse(&context);
    frame.set_envelope(std::string(64 << 20, 'x'));  // 64 KiB on the wire
    stream->Write(frame);
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  grpc::ClientContext first_context, second_context, fetch_context;
  const auto first = stub->Converse(&first_context);
  frame.set_envelope("one");
  ASSERT_TRUE(first->Write(frame));
  const ConnectionId id = ServerGets(Kind::kOpened).connection;
  EXPECT_EQ(ServerGets(Kind::kReceived).connection, id);
  const auto second = stub->Converse(&second_context);
  const grpc::Status refused = second->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.error_details(),
            std::string(1, static_cast<char>(CloseReason::kTooManyConnections)));
  v1::FetchRequest request;
  request.set_hash("too short");
  v1::Chunk chunk;
  const auto fetch = stub->Fetch(&fetch_context, request);
  EXPECT_FALSE(fetch->Read(&chunk));
  EXPECT_EQ(fetch->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  first->WritesDone();
  EXPECT_EQ(ServerGets(Kind::kClosed).reason, CloseReason::kClosedByPeer);
  EXPECT_TRUE(first->Finish().ok());
  Echo();
}

// Mutations of a well-formed call, each on a TLS connection of its own: whatever gRPC makes of it,
// the bookkeeping stays whole.
TEST_F(Hostile, MutatedCalls) {
  StartWithHonest({.frame_bytes_max = 64 << 10});
  const std::string good = kPreface + kConverse +
                           Http2Frame(0, 0, 1, std::string("\0\0\0\0\5\x0a\3abc", 10)) +
                           Http2Frame(0, 1, 1, std::string("\0\0\0\0\5\x0a\3def", 10));
  Rng rng(/*seed=*/7);
  const auto below = [&](std::size_t n) { return rng.Below(static_cast<std::uint32_t>(n)); };
  std::map<ConnectionId, Kind> last;
  const auto drain = [&](std::int64_t wait_ms) {
    Event event;
    while (server_->Next(event, wait_ms)) {
      if (event.connection != honest_id_) last[event.connection] = event.kind;
    }
  };
  // Hanging up at once, they would be gone before the server has read a word.
  std::deque<std::unique_ptr<RawCaller>> callers;
  for (int i = 0; i < 150; ++i) {
    std::string wire = good;
    for (std::uint32_t edits = below(4); edits > 0; --edits) {
      const std::size_t at = below(wire.size());
      if (below(3) == 0) {
        wire.insert(at, wire.substr(below(wire.size()), 1 + below(40)));
      } else {
        wire[at] = static_cast<char>(rng.NextU32());
      }
    }
    if (below(4) == 0) wire.resize(below(wire.size()));
    callers.push_back(std::make_unique<RawCaller>(server_->port()));
    ASSERT_TRUE(callers.back()->StartTls());
    callers.back()->Say(wire);
    if (callers.size() > 16) callers.pop_front();
    drain(0);
  }
  drain(200);
  callers.clear();
  EXPECT_TRUE(Eventually([&] {
    drain(0);
    return server_->load().sockets == 1;
  }));
  drain(200);
  for (const Event& event : unexpected_) last[event.connection] = event.kind;
  EXPECT_FALSE(last.empty());
  for (const auto& [id, kind] : last) EXPECT_EQ(kind, Kind::kClosed);
  EXPECT_EQ(server_->load().queued_bytes, 0u);
  Echo();
}

}  // namespace
}  // namespace waggle
