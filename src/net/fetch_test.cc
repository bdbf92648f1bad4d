// Blobs: whole, resumed, refused, interrupted; and servers that answer what they should not.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "net/test_net.h"
#include "net/tls.h"
#include "node.grpc.pb.h"

namespace waggle {
namespace {

using Kind = Event::Kind;

Digest256 HashOf(std::string_view text) { return Sha256(AsFrame(text)); }

std::string MadeUp(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint32_t state = 1;
  for (char& c : text) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
  return text;
}

// Blobs in memory; reading at or behind `bad_from` fails, and `gate` can hold readers up.
class TestBlobs final : public BlobSource {
 public:
  Digest256 Add(std::string content) {
    const Digest256 hash = HashOf(content);
    blobs_[hash] = std::move(content);
    return hash;
  }
  void Hold(bool held) {
    const std::scoped_lock lock(mutex_);
    held_ = held;
    released_.notify_all();
  }
  std::atomic<std::uint64_t> bad_from{UINT64_MAX};

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override {
    const auto at = blobs_.find(hash);
    if (at == blobs_.end()) return std::unique_ptr<Blob>();
    return std::unique_ptr<Blob>(std::make_unique<Memory>(*this, at->second));
  }

 private:
  class Memory final : public Blob {
   public:
    Memory(TestBlobs& owner, const std::string& content) : owner_(owner), content_(content) {}
    std::uint64_t size() const override { return content_.size(); }
    Status Read(std::uint64_t offset, std::span<std::byte> out) override {
      std::unique_lock lock(owner_.mutex_);
      owner_.released_.wait(lock, [&] { return !owner_.held_; });
      if (offset + out.size() > owner_.bad_from) return Fail(Blame::kMachine, "bad sector");
      std::memcpy(out.data(), content_.data() + offset, out.size());
      return {};
    }

   private:
    TestBlobs& owner_;
    const std::string& content_;
  };

  std::map<Digest256, std::string> blobs_;
  std::mutex mutex_;
  std::condition_variable released_;
  bool held_ = false;
};

class Fetch : public NetTest {
 protected:
  using Outcome = tl::expected<std::uint64_t, FetchError>;
  // Appends to `into`, whose size is the offset.
  static Outcome Get(NodeClient& client, const Digest256& hash, std::string& into,
                     std::uint64_t bytes_max = 1 << 30) {
    return client.FetchBlob(hash, into.size(), bytes_max,
                            [&](std::uint64_t offset, std::span<const std::byte> data) -> Status {
                              EXPECT_EQ(offset, into.size());
                              EXPECT_LE(data.size(), kChunkBytesMax);
                              into.append(reinterpret_cast<const char*>(data.data()), data.size());
                              return {};
                            });
  }
  TestBlobs blobs_;
};

TEST_F(Fetch, WholeAndFromAnyOffset) {
  const std::string content = MadeUp((5 << 20) + 123);
  const Digest256 hash = blobs_.Add(content), empty = blobs_.Add("");
  StartServer({}, &blobs_);
  auto client = Client();
  for (const std::size_t offset :
       {std::size_t{0}, std::size_t{1}, std::size_t{1} << 20, content.size() - 1, content.size()}) {
    std::string got = content.substr(0, offset);
    const Outcome outcome = Get(*client, hash, got);
    ASSERT_TRUE(outcome.has_value()) << outcome.error().error.what;
    EXPECT_EQ(*outcome, content.size());
    EXPECT_EQ(got, content);
  }
  std::string got;
  EXPECT_EQ(Get(*client, empty, got).value(), 0u);
  got = content + "x";
  const Outcome behind = Get(*client, hash, got);
  ASSERT_FALSE(behind.has_value());
  EXPECT_EQ(behind.error().failure, FetchFailure::kOffset);
}

TEST_F(Fetch, RefusalsAreTyped) {
  const Digest256 hash = blobs_.Add(MadeUp(3 << 20));
  StartServer({}, &blobs_);
  auto client = Client();
  std::string got;
  const Outcome unknown = Get(*client, HashOf("unknown"), got);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().failure, FetchFailure::kUnknown);
  EXPECT_EQ(unknown.error().error.blame, Blame::kMachine);
  const Outcome limit = Get(*client, hash, got, (2 << 20) + 5);
  ASSERT_FALSE(limit.has_value());
  EXPECT_EQ(limit.error().failure, FetchFailure::kLimit);
  EXPECT_EQ(limit.error().error.blame, Blame::kPeer);
  EXPECT_EQ(limit.error().next_offset, std::uint64_t{2} << 20);
  const Outcome stopped = client->FetchBlob(
      hash, 0, 1 << 30, [](auto, auto) -> Status { return Fail(Blame::kMachine, "disk full"); });
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().failure, FetchFailure::kSink);
  EXPECT_EQ(stopped.error().error.what, "disk full");
  EXPECT_TRUE(Eventually([&] { return server_->load().fetches == 0; }));
}

TEST_F(Fetch, ASourceThatFailsInTheMiddleIsResumedWhereItFailed) {
  const std::string content = MadeUp(4 << 20);
  const Digest256 hash = blobs_.Add(content);
  StartServer({}, &blobs_);
  auto client = Client();
  blobs_.bad_from = (2 << 20) + 7;
  std::string got;
  const Outcome broken = Get(*client, hash, got);
  ASSERT_FALSE(broken.has_value());
  EXPECT_EQ(broken.error().failure, FetchFailure::kSourceFailed);
  EXPECT_EQ(broken.error().error.blame, Blame::kMachine);
  EXPECT_EQ(broken.error().next_offset, got.size());
  EXPECT_EQ(got.size(), std::size_t{2} << 20);
  blobs_.bad_from = UINT64_MAX;
  EXPECT_TRUE(Get(*client, hash, got).has_value());
  EXPECT_EQ(got, content);
}

TEST_F(Fetch, TooManyAtOnceAndFramesGoOnMeanwhile) {
  const Digest256 hash = blobs_.Add(MadeUp(1 << 20));
  StartServer({.fetches_max = 2, .fetches_per_connection_max = 1, .fetch_threads = 1}, &blobs_);
  auto first = Client(), second = Client(), third = Client();
  blobs_.Hold(true);
  std::string a, b, c;
  std::thread one([&] { EXPECT_TRUE(Get(*first, hash, a).has_value()); });
  EXPECT_TRUE(Eventually([&] { return server_->load().fetches == 1; }));
  const Outcome same_connection = Get(*first, hash, c);
  ASSERT_FALSE(same_connection.has_value());
  EXPECT_EQ(same_connection.error().failure, FetchFailure::kBusy);
  std::thread two([&] { EXPECT_TRUE(Get(*second, hash, b).has_value()); });
  EXPECT_TRUE(Eventually([&] { return server_->load().fetches == 2; }));
  const Outcome in_all = Get(*third, hash, c);
  ASSERT_FALSE(in_all.has_value());
  EXPECT_EQ(in_all.error().failure, FetchFailure::kBusy);
  ASSERT_TRUE(first->Send(AsFrame("still talking")));
  EXPECT_TRUE(Eventually(
      [&] { return !unexpected_.empty() && unexpected_.back().bytes == "still talking"; }));
  blobs_.Hold(false);
  one.join();
  two.join();
  EXPECT_EQ(a, b);
}

TEST_F(Fetch, AReceiverThatTakesNothingIsCutOffByTheClock) {
  const Digest256 hash = blobs_.Add(MadeUp(64 << 20));
  StartServer({.idle_ms_max = 60'000}, &blobs_);
  auto client = Client();
  bool advanced = false;
  const Outcome outcome = client->FetchBlob(hash, 0, 1 << 30, [&](auto, auto) -> Status {
    // The server fills the windows, then waits for us; we wait for it to give up.
    if (std::exchange(advanced, true)) return {};
    EXPECT_TRUE(Eventually([&] {
      clock_.AdvanceMs(10'000);
      return server_->load().fetches == 0;
    }));
    return {};
  });
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().failure, FetchFailure::kLost) << outcome.error().error.what;
}

TEST_F(Fetch, StoppingTheServerEndsAFetch) {
  const Digest256 hash = blobs_.Add(MadeUp(64 << 20));
  StartServer({}, &blobs_);
  auto client = Client();
  std::uint64_t taken = 0;
  const Outcome outcome = client->FetchBlob(hash, 0, 1 << 30, [&](auto, auto data) -> Status {
    if (taken == 0) server_->Stop();
    taken += data.size();
    return {};
  });
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().failure, FetchFailure::kLost);
  EXPECT_EQ(outcome.error().next_offset, taken);
}

// --- a server that is not ours
// --------------------------------------------------------------------
class OddServer final : public v1::Node::Service {
 public:
  using Writer = grpc::ServerWriter<v1::Chunk>;
  std::function<grpc::Status(grpc::ServerContext&, Writer&)> answer;
  OddServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", ServerTls(TestCertificate()), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~OddServer() override { server_->Shutdown(gpr_inf_past(GPR_CLOCK_REALTIME)); }
  grpc::Status Fetch(grpc::ServerContext* context, const v1::FetchRequest*,
                     Writer* writer) override {
    return answer(*context, *writer);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

v1::Chunk ChunkOf(std::uint64_t offset, std::size_t bytes) {
  v1::Chunk chunk;
  chunk.set_offset(offset);
  chunk.set_data(std::string(bytes, 'x'));
  return chunk;
}

TEST_F(Fetch, WrongPlacesAndSizesAreThePeersFault) {
  OddServer odd;
  auto client =
      NodeClient::Connect(odd.address(), TestCertificate().pin, {.idle_ms_max = 300}, clock_)
          .value();
  EXPECT_EQ(Expect(*client, Kind::kClosed).reason, CloseReason::kMalformed);  // no Converse there
  const std::vector<std::vector<v1::Chunk>> answers = {
      {ChunkOf(1, 10)}, {ChunkOf(0, 10), ChunkOf(11, 10)}, {ChunkOf(0, 10), ChunkOf(0, 10)},
      {ChunkOf(0, 0)},  {ChunkOf(0, kChunkBytesMax + 1)},
  };
  for (const auto& chunks : answers) {
    odd.answer = [&](grpc::ServerContext&, OddServer::Writer& writer) {
      for (const v1::Chunk& chunk : chunks) writer.Write(chunk);
      return grpc::Status::OK;
    };
    std::string got;
    const Outcome outcome = Get(*client, HashOf("any"), got);
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error().failure, FetchFailure::kMalformed);
    EXPECT_EQ(outcome.error().error.blame, Blame::kPeer);
    EXPECT_EQ(outcome.error().next_offset, got.size());
  }
  odd.answer = [](grpc::ServerContext& context, OddServer::Writer&) {
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  };
  std::string got;
  const Outcome stalled = Get(*client, HashOf("any"), got);
  ASSERT_FALSE(stalled.has_value());
  EXPECT_EQ(stalled.error().failure, FetchFailure::kStalled);
}

}  // namespace
}  // namespace waggle
