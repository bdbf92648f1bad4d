// What a node does with a swarm: real nodes on loopback, mirrors as web seeds, swarms that have
// nothing.
#include "channel/swarm_channel.h"

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "channel/blob_catalog.h"
#include "channel/relay_keeper.h"
#include "channel/test_mirror.h"
#include "torrent/test_payload.h"

namespace waggle {
namespace {

std::unique_ptr<Swarm> Node(const TempFolder& folder) {
  return Swarm::Open({.listen = "127.0.0.1:0", .scratch = folder.path()}, SystemClock()).value();
}

class SwarmChannelTest : public testing::Test {
 protected:
  SwarmChannelTest() {
    for (std::size_t c = 0; c < of_.manifest.chunks.size(); ++c) {
      const auto bytes = ChunkOf(of_.manifest, of_.payload, c);
      blobs_.Put(of_.manifest.chunks[c], Bytes(bytes.begin(), bytes.end()));
    }
    blobs_.Put(torrent_.blob, torrent_.info);
    blobs_.Put(DigestOf(of_.manifest), Encode(of_.manifest));
    fetcher_.Tell({mirror_.url()});
  }
  Magnet MagnetAt(std::vector<std::string> peers) const {
    return {.infohash = torrent_.infohash, .info = torrent_.blob, .peers = std::move(peers)};
  }
  static std::string At(const Swarm& swarm) { return "127.0.0.1:" + std::to_string(swarm.port()); }
  // How many chunks came.
  std::size_t Fetch(const Magnet& magnet, std::vector<std::string> mirrors = {}) {
    TestSink sink(of_);
    const Status status = channel_.Fetch(fetcher_, nullptr,
                                         {.manifest = of_.manifest,
                                          .magnet = magnet,
                                          .mirrors = std::move(mirrors),
                                          .chunks = of_.AllChunks()},
                                         sink.take());
    EXPECT_TRUE(status) << status.error().what;
    EXPECT_TRUE(sink.chunks < of_.AllChunks().size() || sink.payload == of_.payload);
    return sink.chunks;
  }

  const TestPayload of_{1'000'000};
  const PolicyTorrent torrent_ = TorrentOf(of_.info);
  BlobCatalog blobs_;
  TestMirror mirror_{blobs_};
  BlobFetcher fetcher_{SystemClock(), 1};
  TempFolder folder_;
  ThreadPool pool_{1};
  std::unique_ptr<Swarm> swarm_ = Node(folder_);
  SwarmChannel channel_{
      *swarm_, pool_, SystemClock(), {.contact_ms_max = 1'500, .silence_ms_max = 5'000}};
};

TEST_F(SwarmChannelTest, TakesFromWhoGives) {
  const auto other = Node(folder_);
  SwarmChannel giving(*other, pool_, SystemClock());
  ASSERT_TRUE(giving.Give(of_.manifest, torrent_, std::make_shared<TestSource>(of_)));
  EXPECT_EQ(giving.Find(DigestOf(of_.manifest))->infohash, torrent_.infohash);
  EXPECT_EQ(Fetch(MagnetAt({At(*other)})), of_.manifest.chunks.size());
  EXPECT_EQ(swarm_->counts().taken_from_web, 0u);
  giving.Retain({});
  EXPECT_EQ(giving.Find(DigestOf(of_.manifest)), nullptr);
  EXPECT_EQ(other->counts().torrents, 0u);
}

// Any server that has blobs at /blob/<hash> is a web seed as it is.
TEST_F(SwarmChannelTest, AMirrorIsAWebSeed) {
  const std::uint64_t before = mirror_.bytes();
  EXPECT_EQ(Fetch(MagnetAt({}), {mirror_.url() + "/", "ftp://nowhere"}),
            of_.manifest.chunks.size());
  EXPECT_GE(mirror_.bytes() - before, of_.payload.size());
  EXPECT_GE(swarm_->counts().taken_from_web, of_.payload.size() / 2);
}

TEST_F(SwarmChannelTest, AMirrorThatLiesDoesNotGetThrough) {
  TestMirror liar(blobs_, Forge);
  EXPECT_LT(Fetch(MagnetAt({}), {liar.url()}), of_.manifest.chunks.size());
}

// The fetch ends soon, and the next one does not try again at once.
TEST_F(SwarmChannelTest, ASwarmThatHasNothingIsLeftAlone) {
  EXPECT_EQ(Fetch(MagnetAt({"127.0.0.1:9"})), 0u);
  const int asked = mirror_.requests;  // for the dictionary
  EXPECT_EQ(Fetch(MagnetAt({"127.0.0.1:9"})), 0u);
  EXPECT_EQ(mirror_.requests, asked);
}

TEST_F(SwarmChannelTest, ADictionaryThatIsNotTheManifestsIsLeftAlone) {
  const TestPayload other(1'000'000, 64 << 10, 2);
  blobs_.Put(Sha256(other.info), other.info);
  Magnet magnet = MagnetAt({});
  magnet.info = Sha256(other.info);
  EXPECT_EQ(Fetch(magnet, {mirror_.url()}), 0u);
  EXPECT_EQ(swarm_->counts().taken, 0u);
}

// A relay takes from the swarm and gives to it, and hands out the dictionary.
TEST_F(SwarmChannelTest, ARelayTakesPart) {
  const auto origin = Node(folder_), third = Node(folder_);
  SwarmChannel giving(*origin, pool_, SystemClock());
  ASSERT_TRUE(giving.Give(of_.manifest, torrent_, std::make_shared<TestSource>(of_)));
  const auto folder = BlobFolder::OpenAt(folder_.path() / "relay").value();
  RelayKeeper keeper(*folder, fetcher_, 10 << 20, &channel_);
  const AnnouncedPolicy announced{.version = of_.manifest.version,
                                  .manifest = DigestOf(of_.manifest),
                                  .torrent = MagnetAt({At(*origin)})};
  const Status followed = keeper.Follow(nullptr, {&announced, 1}, [] { return false; });
  ASSERT_TRUE(followed) << followed.error().what;
  EXPECT_GE(swarm_->counts().taken, of_.payload.size());
  EXPECT_TRUE(folder->Has(torrent_.blob));
  giving.Retain({});
  TestSink sink(of_);
  EXPECT_TRUE(third
                  ->Fetch({.manifest = of_.manifest,
                           .info = of_.info,
                           .peers = {At(*swarm_)},
                           .web_seeds = {},
                           .chunks = of_.AllChunks()},
                          sink.take())
                  .value());
  EXPECT_TRUE(sink.payload == of_.payload);
  ASSERT_TRUE(keeper.Follow(nullptr, {}, [] { return false; }));
  EXPECT_EQ(swarm_->counts().torrents, 0u);
}

}  // namespace
}  // namespace waggle
