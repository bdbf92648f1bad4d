// Swarms on loopback: real sockets, real libtorrent.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/test_folder.h"
#include "torrent/swarm.h"
#include "torrent/swarm_peers.h"
#include "torrent/test_payload.h"

namespace waggle {
namespace {

class SwarmTest : public testing::Test {
 protected:
  std::unique_ptr<Swarm> Node(SwarmOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.scratch = folder_.path();
    auto node = Swarm::Open(options, SystemClock());
    EXPECT_TRUE(node) << node.error().what;
    return std::move(*node);
  }
  static std::string At(const Swarm& node) { return "127.0.0.1:" + std::to_string(node.port()); }
  static Swarm::Wanted All(const TestPayload& of, std::vector<std::string> peers) {
    return {.manifest = of.manifest,
            .info = of.info,
            .peers = std::move(peers),
            .web_seeds = {},
            .chunks = of.AllChunks()};
  }
  void ExpectWhole(Swarm& node, const TestPayload& of, std::vector<std::string> peers) {
    TestSink sink(of);
    const auto fetched = node.Fetch(All(of, std::move(peers)), sink.take());
    ASSERT_TRUE(fetched) << fetched.error().what;
    EXPECT_TRUE(*fetched);
    EXPECT_EQ(sink.chunks, of.manifest.chunks.size());
    EXPECT_TRUE(sink.payload == of.payload);
  }
  TempFolder folder_;
};

TEST_F(SwarmTest, GivesAPayloadOfAnySize) {
  const auto origin = Node(), receiver = Node();
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{65536}, std::size_t{1'000'000}}) {
    const TestPayload of(bytes, 64 << 10, bytes);
    ASSERT_TRUE(origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
    ExpectWhole(*receiver, of, {At(*origin)});
  }
  EXPECT_EQ(receiver->counts().taken, origin->counts().given);
  EXPECT_EQ(receiver->counts().bad_pieces, 0u);
  EXPECT_EQ(receiver->counts().torrents, 3u);
  receiver->Retain({});
  EXPECT_EQ(receiver->counts().torrents, 0u);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));  // what is on its way has no name
}

TEST_F(SwarmTest, ChunksThatAreNoPowerOfTwoAndEqualOnes) {
  const auto origin = Node(), receiver = Node();
  TestPayload of(300'000, 50'001);
  std::copy_n(of.payload.begin(), 50'001, of.payload.begin() + 50'001);
  const TestPayload twice(of.payload, 50'001);
  ASSERT_TRUE(origin->Give(twice.manifest, twice.info, std::make_shared<TestSource>(twice)));
  ExpectWhole(*receiver, twice, {At(*origin)});
}

// Receivers know of the origin only; they learn of one another.
TEST_F(SwarmTest, ReceiversGiveToOneAnother) {
  const TestPayload of(4'000'000);
  const auto origin = Node({.upload_per_second_max = 2'000'000});
  ASSERT_TRUE(origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
  std::vector<std::unique_ptr<Swarm>> nodes;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    nodes.push_back(Node());
    threads.emplace_back([&, node = nodes.back().get()] { ExpectWhole(*node, of, {At(*origin)}); });
  }
  for (std::thread& thread : threads) thread.join();
  std::uint64_t given = 0;
  for (const auto& node : nodes) given += node->counts().given;
  EXPECT_GT(given, of.payload.size());
  EXPECT_LT(origin->counts().given, 4 * of.payload.size());  // a star gives six
}

TEST_F(SwarmTest, WhoCameLaterIsServedByWhoCameBefore) {
  const TestPayload of(1'000'000);
  const auto first = Node(), second = Node();
  {
    const auto origin = Node();
    ASSERT_TRUE(origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
    ExpectWhole(*first, of, {At(*origin)});
  }
  // From the file without a name, and then from where the caller has it.
  ExpectWhole(*second, of, {At(*first)});
  ASSERT_TRUE(first->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
  second->Retain({});
  ExpectWhole(*second, of, {At(*first)});
}

TEST_F(SwarmTest, OnlyWhatIsMissingIsFetched) {
  const TestPayload of(1'000'000);
  const auto origin = Node(), receiver = Node();
  ASSERT_TRUE(origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
  Swarm::Wanted wanted = All(of, {At(*origin)});
  wanted.chunks = {3, 7};
  TestSink sink(of);
  EXPECT_TRUE(receiver->Fetch(wanted, sink.take()).value());
  EXPECT_EQ(sink.chunks, 2u);
  EXPECT_EQ(receiver->counts().taken, 2 * (64u << 10));
}

TEST_F(SwarmTest, ALiarIsBannedAndThePayloadIsRight) {
  const TestPayload of(2'000'000);
  const auto honest = Node({.upload_per_second_max = 1'000'000}), liar = Node(), receiver = Node();
  ASSERT_TRUE(honest->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
  ASSERT_TRUE(liar->Give(of.manifest, of.info, std::make_shared<TestSource>(of, true)));
  ExpectWhole(*receiver, of, {At(*liar), At(*honest)});
  EXPECT_GT(receiver->counts().bad_pieces, 0u);
  EXPECT_LT(liar->counts().given, of.payload.size() / 2);  // it would be the faster one
}

TEST_F(SwarmTest, NobodyHasIt) {
  const TestPayload of(200'000), other(200'000, 64 << 10, 2);
  const auto elsewhere = Node(), receiver = Node();
  ASSERT_TRUE(elsewhere->Give(other.manifest, other.info, std::make_shared<TestSource>(other)));
  TestSink sink(of);
  Swarm::Wanted wanted = All(of, {"127.0.0.1:9", At(*elsewhere)});
  wanted.patience.contact_ms_max = 500;
  const auto fetched = receiver->Fetch(wanted, sink.take());
  ASSERT_TRUE(fetched) << fetched.error().what;
  EXPECT_FALSE(*fetched);
  EXPECT_EQ(sink.chunks, 0u);
  EXPECT_EQ(receiver->counts().torrents, 0u);
}

// Peers that have nothing to give are no reason to wait for ever.
TEST_F(SwarmTest, AliveButSilent) {
  const TestPayload of(200'000);
  const auto empty = Node(), receiver = Node();
  std::thread other([&] {
    TestSink sink(of);
    Swarm::Wanted wanted = All(of, {At(*receiver)});
    wanted.patience = {.contact_ms_max = 2'000, .silence_ms_max = 2'000};
    EXPECT_FALSE(empty->Fetch(wanted, sink.take()).value());
  });
  TestSink sink(of);
  Swarm::Wanted wanted = All(of, {At(*empty)});
  wanted.patience = {.contact_ms_max = 1'000, .silence_ms_max = 1'000};
  EXPECT_FALSE(receiver->Fetch(wanted, sink.take()).value());
  other.join();
}

TEST_F(SwarmTest, AnotherTorrentThanTheManifestsIsRefused) {
  const TestPayload of(200'000), other(200'000, 64 << 10, 2);
  const auto node = Node();
  TestSink sink(of);
  Swarm::Wanted wanted = All(of, {});
  wanted.info = other.info;
  EXPECT_EQ(node->Fetch(wanted, sink.take()).error().blame, Blame::kPeer);
  EXPECT_EQ(node->Give(of.manifest, other.info, nullptr).error().blame, Blame::kPeer);
}

// The files are the manifest's and the hashes are of other bytes: whoever announced it lied.
TEST_F(SwarmTest, ATorrentThatPromisesOtherBytesIsFoundOut) {
  const TestPayload of(200'000), forged(200'000, 64 << 10, 2);
  // The hashes are the dictionary's end.
  const TorrentLayout layout = TorrentLayout::Of(of.manifest).value();
  const std::ptrdiff_t hashes = static_cast<std::ptrdiff_t>(20 * layout.pieces() + 1);
  Bytes info = of.info;
  std::copy(forged.info.end() - hashes, forged.info.end(), info.end() - hashes);
  const auto origin = Node(), receiver = Node();
  ASSERT_TRUE(origin->Give(of.manifest, info, std::make_shared<TestSource>(forged)));
  TestSink sink(of);
  Swarm::Wanted wanted = All(of, {At(*origin)});
  wanted.info = info;
  const auto fetched = receiver->Fetch(wanted, sink.take());
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().blame, Blame::kPeer);
  EXPECT_EQ(sink.chunks, 0u);
  EXPECT_EQ(receiver->counts().torrents, 0u);
}

// No address is told: nodes meet in a hash table of their own, and the run's news are there,
// signed.
TEST_F(SwarmTest, NodesMeetInTheHashTable) {
  const TestPayload of(500'000);
  const auto first = Node({.dht = true, .dht_nodes = {"127.0.0.1:9"}});
  const SwarmOptions options{.dht = true, .dht_nodes = {At(*first)}};
  std::vector<std::unique_ptr<Swarm>> table;
  for (int i = 0; i < 3; ++i) table.push_back(Node(options));
  const auto origin = Node(options), receiver = Node(options);
  ASSERT_TRUE(origin->Give(of.manifest, of.info, std::make_shared<TestSource>(of)));
  const RunNews news{.key_seed = {7},
                     .salt = "a run",
                     .version = PolicyVersion{5},
                     .manifest = DigestOf(of.manifest),
                     .torrent = {.infohash = InfohashOf(of.info), .info = Sha256(of.info)}};
  Swarm::Wanted wanted = All(of, {});
  const auto outside = Node();
  TestSink nothing(of);
  wanted.patience.contact_ms_max = 500;
  EXPECT_FALSE(outside->Fetch(wanted, nothing.take()).value());
  EXPECT_FALSE(receiver->ReadNews(NewsLink(news.key_seed, news.salt), 1'000));
  EXPECT_FALSE(receiver->ReadNews("magnet:?xs=urn:btpk:12&s=", 1'000));
  wanted.patience = {.contact_ms_max = 60'000, .silence_ms_max = 60'000, .grace_ms = 60'000};
  TestSink sink(of);
  EXPECT_TRUE(receiver->Fetch(wanted, sink.take()).value());
  EXPECT_TRUE(sink.payload == of.payload);
  origin->Publish(news);
  const auto read = receiver->ReadNews(NewsLink(news.key_seed, news.salt), 30'000);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->version, news.version);
  EXPECT_EQ(read->manifest, news.manifest);
  EXPECT_EQ(read->torrent, news.torrent);
}

TEST_F(SwarmTest, APortThatIsTakenIsTheOperators) {
  const auto node = Node();
  const auto second = Swarm::Open({.listen = At(*node), .scratch = folder_.path()}, SystemClock());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().blame, Blame::kOperator);
}

TEST(SwarmPeers, MessageIsReadAsFarAsItMakesSense) {
  using Endpoint = lt::tcp::endpoint;
  const std::vector<Endpoint> peers = {{lt::make_address("10.1.2.3"), 7101},
                                       {lt::make_address("2001:db8::1"), 65535}};
  std::vector<char> bytes = EncodePeers(peers);
  EXPECT_EQ(bytes.size(), 7u + 19u);
  EXPECT_EQ(DecodePeers(bytes), peers);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_LE(
        DecodePeers(lt::span<const char>(bytes.data(), static_cast<std::ptrdiff_t>(cut))).size(),
        1u);
  bytes[0] = 5;
  EXPECT_TRUE(DecodePeers(bytes).empty());
  EXPECT_EQ(DecodePeers(EncodePeers(std::vector<Endpoint>(200, peers[0]))).size(), kPeersTold);
}

}  // namespace
}  // namespace waggle
