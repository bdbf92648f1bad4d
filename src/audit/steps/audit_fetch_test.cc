// What a validator fetches for audits: whole or not there, nothing but what hashes name, and
// nothing twice.
#include "audit/steps/audit_fetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>

#include "base/files.h"
#include "base/test_folder.h"
#include "net/server.h"

namespace waggle {
namespace {

class MapBlob final : public Blob {
 public:
  explicit MapBlob(const Bytes& bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return {};
  }

 private:
  const Bytes bytes_;
};

// Filled before it is asked.
class MapSource final : public BlobSource {
 public:
  Digest256 Add(const Bytes& bytes) {
    blobs[Sha256(bytes)] = bytes;
    return Sha256(bytes);
  }
  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override {
    ++asked;
    const auto found = blobs.find(hash);
    if (found == blobs.end()) return std::unique_ptr<Blob>();
    return std::unique_ptr<Blob>(std::make_unique<MapBlob>(found->second));
  }
  std::map<Digest256, Bytes> blobs;
  std::atomic<int> asked = 0;
};

class Fetching : public ::testing::Test {
 protected:
  Fetching() {
    static const Certificate certificate = MakeCertificate().value();
    server_ = NodeServer::Start("127.0.0.1:0", certificate, {}, &source_, SystemClock()).value();
    client_ = NodeClient::Connect("127.0.0.1:" + std::to_string(server_->port()), certificate.pin,
                                  {}, SystemClock())
                  .value();
    const auto state = folder_.path() / "state";
    std::filesystem::create_directories(state);
    EXPECT_TRUE(WriteFileAtomic(state / "masters.safetensors", std::string(5'000'000, 'w')));
    EXPECT_TRUE(WriteFileAtomic(state / "state.json", "{}"));
    listing_ = ListState(state, run_, version_).value();
    for (const StateFile& file : listing_.files) {
      const std::string text = ReadFile(state / file.name, 1 << 24).value();
      for (std::size_t at = 0; at < text.size(); at += kStateChunkBytes) {
        const std::string chunk = text.substr(at, kStateChunkBytes);
        source_.Add(Bytes(chunk.begin(), chunk.end()));
      }
    }
    Begin();
  }
  void Begin() {
    fetch_.reset();
    fetch_ = std::make_unique<AuditFetch>(
        AuditFetch::Settings{.mirror = mirror_, .run = run_, .state_bytes_max = 10'000'000},
        SystemClock());
  }
  Status Fetch(AuditFetch::Wanted wanted) {
    fetch_->Start(*client_, std::move(wanted));
    return *fetch_->Take(60'000);
  }
  AuditFetch::Wanted State(const StateListing& listing) {
    return {.state_version = version_, .listing = source_.Add(Encode(listing))};
  }

  const Hash256 run_{3};
  const PolicyVersion version_{7};
  TempFolder folder_;
  const std::filesystem::path mirror_ = folder_.path() / "mirror";
  const std::filesystem::path fetched_ = RunFolder(mirror_).checkpoint(7) / "trainer";
  MapSource source_;
  StateListing listing_;
  std::unique_ptr<NodeServer> server_;
  std::unique_ptr<NodeClient> client_;
  std::unique_ptr<AuditFetch> fetch_;
};

TEST_F(Fetching, AStateIsThereWholeAndIsNotFetchedTwice) {
  const AuditFetch::Wanted wanted = State(listing_);
  ASSERT_TRUE(Fetch(wanted));
  EXPECT_EQ(ReadFile(fetched_ / "masters.safetensors", 1 << 24).value(),
            std::string(5'000'000, 'w'));
  EXPECT_EQ(ListState(fetched_, run_, version_).value(), listing_);
  const int asked = source_.asked;
  ASSERT_TRUE(Fetch(wanted));
  EXPECT_EQ(source_.asked, asked);
}

// A process that was killed goes on from the chunks that it had.
TEST_F(Fetching, WhatWasThereIsNotFetchedAgain) {
  const Digest256 last = listing_.files[1].chunks[0];
  const Bytes kept = source_.blobs.at(last);
  source_.blobs.erase(last);
  const AuditFetch::Wanted wanted = State(listing_);
  EXPECT_FALSE(Fetch(wanted));
  EXPECT_FALSE(std::filesystem::exists(fetched_));
  Begin();
  source_.Add(kept);
  source_.asked = 0;
  ASSERT_TRUE(Fetch(wanted));
  EXPECT_EQ(source_.asked, 2);  // the listing, and what was missing
}

TEST_F(Fetching, OtherBytesThanTheHashIsOfAreRefused) {
  const AuditFetch::Wanted wanted = State(listing_);
  source_.blobs.at(listing_.files[0].chunks[1])[5] ^= 1;
  const Status fetched = Fetch(wanted);
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().blame, Blame::kPeer);
  EXPECT_FALSE(std::filesystem::exists(fetched_));
  const Digest256 batch = source_.Add({1, 2, 3});
  source_.blobs.at(batch) = {1, 2, 4};
  EXPECT_FALSE(Fetch({.batches = {batch}}));
  EXPECT_FALSE(std::filesystem::exists(fetch_->BatchFile(batch)));
  source_.blobs.at(batch) = {1, 2, 3};
  ASSERT_TRUE(Fetch({.batches = {batch}}));
  EXPECT_TRUE(std::filesystem::exists(fetch_->BatchFile(batch)));
}

TEST_F(Fetching, ListingsThatAreNoneAreRefused) {
  StateListing other = listing_;
  other.version = PolicyVersion{8};
  EXPECT_FALSE(Fetch(State(other)));
  other = listing_;
  other.run = Hash256{4};
  EXPECT_FALSE(Fetch(State(other)));
  other = listing_;
  other.files[1].name = "../../escaped";
  EXPECT_FALSE(Fetch(State(other)));
  other = listing_;
  other.files[0].bytes = 9'999'999'999;
  EXPECT_FALSE(Fetch(State(other)));
  AuditFetch::Wanted garbage{.state_version = version_, .listing = source_.Add({9, 9, 9})};
  EXPECT_FALSE(Fetch(garbage));
  EXPECT_FALSE(Fetch({.manifests = {source_.Add({9, 9, 9})}}));
  EXPECT_FALSE(std::filesystem::exists(fetched_));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "escaped"));
}

}  // namespace
}  // namespace waggle
