// Blobs from mirrors that are honest, dead, slow, behind or lying, and from the host in the end.
#include "channel/blob_fetcher.h"

#include <gtest/gtest.h>

#include <thread>

#include "channel/blob_catalog.h"
#include "channel/test_mirror.h"
#include "crypto/hash.h"
#include "net/server.h"

namespace waggle {
namespace {

class BlobFetcherTest : public testing::Test {
 protected:
  BlobFetcherTest() {
    for (std::size_t i = 0; i < blob_.size(); ++i)
      blob_[i] = static_cast<std::uint8_t>(i * i + i / 251);
    hash_ = Sha256(blob_);
    honest_.Put(hash_, blob_);
  }
  // The run's host, over gRPC.
  NodeClient* Host() {
    if (!host_) {
      static const Certificate certificate = MakeCertificate().value();
      server_ = NodeServer::Start("127.0.0.1:0", certificate, NetLimits{}, &honest_, SystemClock())
                    .value();
      host_ = NodeClient::Connect("127.0.0.1:" + std::to_string(server_->port()), certificate.pin,
                                  NetLimits{}, SystemClock())
                  .value();
    }
    return host_.get();
  }
  Result<Bytes> Fetch(NodeClient* host) { return blobs_.Fetch(host, hash_, blob_.size()); }
  void ExpectBlob(NodeClient* host) {
    const auto fetched = Fetch(host);
    ASSERT_TRUE(fetched) << fetched.error().what;
    EXPECT_TRUE(*fetched == blob_);
  }
  const BlobFetcher::Totals& totals() const { return blobs_.totals(); }

  Bytes blob_ = Bytes(1'000'000);
  Digest256 hash_{};
  BlobCatalog honest_, empty_;
  BlobFetcher blobs_{SystemClock(), 1, {.silence_ms_max = 500, .behind_ms_max = 400}};
  std::unique_ptr<NodeServer> server_;
  std::unique_ptr<NodeClient> host_;
};

TEST_F(BlobFetcherTest, AMirrorSparesTheHost) {
  TestMirror mirror(honest_);
  blobs_.Tell({mirror.url()});
  ExpectBlob(nullptr);
  ExpectBlob(Host());
  EXPECT_EQ(totals().host_bytes, 0u);
  EXPECT_EQ(totals().mirror_bytes, 2 * blob_.size());
  EXPECT_EQ(mirror.bytes(), 2 * blob_.size());
}

TEST_F(BlobFetcherTest, WithoutMirrorsTheHost) {
  ExpectBlob(Host());
  EXPECT_EQ(totals().host_bytes, blob_.size());
}

// Two broken lines cost no byte twice: the second mirror and the host go on where they broke.
TEST_F(BlobFetcherTest, GoesOnAtTheByteWhereALineBroke) {
  const auto broken_at = [](std::uint64_t at) {
    return [at](HttpResponse& response) {
      response.body = std::make_unique<BrokenBody>(std::move(response.body), at);
    };
  };
  TestMirror first(honest_, broken_at(300'000)), second(honest_, broken_at(300'000));
  blobs_.Tell({first.url(), second.url()});
  ExpectBlob(Host());
  EXPECT_EQ(totals().host_bytes + totals().mirror_bytes, blob_.size());
  EXPECT_GT(totals().mirror_bytes, 100'000u);
  EXPECT_EQ(totals().lies, 0u);
}

TEST_F(BlobFetcherTest, ALiarIsDroppedAndNeverAskedAgain) {
  TestMirror liar(honest_, Forge);
  blobs_.Tell({liar.url()});
  ExpectBlob(Host());
  EXPECT_EQ(totals().lies, 1u);
  const int asked = liar.requests;
  ExpectBlob(Host());
  EXPECT_EQ(liar.requests, asked);
}

// A liar that breaks off and leaves the rest to honest ones is found all the same, and costs the
// honest ones nothing.
TEST_F(BlobFetcherTest, WhoLiedAmongSeveralIsFoundOut) {
  TestMirror liar(honest_, [](HttpResponse& response) {
    auto forged = std::make_unique<ForgedBody>(std::move(response.body), 1'000);
    response.body = std::make_unique<BrokenBody>(std::move(forged), 300'000);
  });
  TestMirror mirror(honest_);
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    BlobFetcher blobs(SystemClock(), seed, {.silence_ms_max = 500});
    blobs.Tell({liar.url(), mirror.url()});
    for (int i = 0; i < 3; ++i) {
      const auto fetched = blobs.Fetch(Host(), hash_, blob_.size());
      ASSERT_TRUE(fetched) << fetched.error().what;
      EXPECT_TRUE(*fetched == blob_);
    }
    EXPECT_FALSE(blobs.book().dropped(1)) << "seed " << seed;
  }
}

TEST_F(BlobFetcherTest, WrongLengthsAreLies) {
  for (const std::size_t size : {std::size_t{0}, blob_.size() - 1, blob_.size() + 1}) {
    BlobCatalog other;
    Bytes bytes = blob_;
    bytes.resize(size);
    other.Put(hash_, bytes);
    TestMirror liar(other);
    BlobFetcher blobs(SystemClock(), 1);
    blobs.Tell({liar.url()});
    const auto fetched = blobs.Fetch(Host(), hash_, blob_.size());
    ASSERT_TRUE(fetched) << fetched.error().what;
    EXPECT_TRUE(*fetched == blob_);
    EXPECT_EQ(blobs.totals().lies, 1u) << size;
    EXPECT_LE(blobs.totals().mirror_bytes, blob_.size());
  }
}

// prime.md 5: start-up needs no mirror alive.
TEST_F(BlobFetcherTest, DeadMirrorsCostAMomentOnce) {
  std::string gone;
  {
    TestMirror mirror(honest_);
    gone = mirror.url();
  }
  blobs_.Tell({gone, "http://127.0.0.1:1", "http://no.such.name.invalid"});
  ExpectBlob(Host());
  const std::uint64_t failures = totals().failures;
  EXPECT_EQ(failures, 3u);
  ExpectBlob(Host());  // they rest
  EXPECT_EQ(totals().failures, failures);
  EXPECT_EQ(totals().host_bytes, 2 * blob_.size());
}

// A relay hears of a version when the volunteers do, and has it a moment later.
TEST_F(BlobFetcherTest, AMirrorThatIsBehindIsWaitedFor) {
  BlobCatalog late;
  TestMirror mirror(late);
  BlobFetcher blobs(SystemClock(), 1, {.behind_ms_max = 60'000});
  blobs.Tell({mirror.url()});
  std::jthread relay([&] {
    while (mirror.requests < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    late.Put(hash_, blob_);
  });
  const auto fetched = blobs.Fetch(Host(), hash_, blob_.size());
  ASSERT_TRUE(fetched) << fetched.error().what;
  EXPECT_EQ(blobs.totals().host_bytes, 0u);
}

TEST_F(BlobFetcherTest, AMirrorThatStaysBehindIsLeftAlone) {
  TestMirror mirror(empty_);
  blobs_.Tell({mirror.url()});
  ExpectBlob(Host());
  EXPECT_EQ(totals().host_bytes, blob_.size());
  const int asked = mirror.requests;
  ExpectBlob(Host());
  EXPECT_EQ(mirror.requests, asked);
}

// On long lines one of several is always fit to be asked again by the time another has answered.
TEST_F(BlobFetcherTest, FarMirrorsThatStayBehindAreLeftAlone) {
  const auto far = [](HttpResponse&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
  };
  TestMirror first(empty_, far), second(empty_, far);
  BlobFetcher blobs(SystemClock(), 1, {.behind_ms_max = 200});
  blobs.Tell({first.url(), second.url()});
  const auto fetched = blobs.Fetch(Host(), hash_, blob_.size());
  ASSERT_TRUE(fetched) << fetched.error().what;
  EXPECT_EQ(blobs.totals().host_bytes, blob_.size());
  const int asked = first.requests + second.requests;
  ASSERT_TRUE(blobs.Fetch(Host(), hash_, blob_.size()));
  EXPECT_EQ(first.requests + second.requests, asked);
}

TEST_F(BlobFetcherTest, WhatNobodyHasIsAnError) {
  TestMirror mirror(empty_);
  blobs_.Tell({mirror.url()});
  const auto nowhere = Fetch(nullptr);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().blame, Blame::kMachine);
  EXPECT_FALSE(blobs_.Fetch(Host(), Sha256(hash_), 100));
}

// The host is believed no more than anybody.
TEST_F(BlobFetcherTest, AHostThatLiesIsAPeersFault) {
  Bytes other = blob_;
  other[77] ^= 1;
  honest_.Put(hash_, other);
  const auto fetched = Fetch(Host());
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().blame, Blame::kPeer);
}

}  // namespace
}  // namespace waggle
