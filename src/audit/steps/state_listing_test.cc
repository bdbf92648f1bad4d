// Listings of a trainer's state: what is on disk, and what strangers may not say.
#include "audit/steps/state_listing.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"

namespace waggle {
namespace {

StateListing Small() {
  StateListing listing{.run = Hash256{1}, .version = PolicyVersion{7}, .files = {}};
  listing.files.push_back({"m.safetensors", 5, {Digest256{2}}});
  listing.files.push_back({"state.json", 0, {}});
  return listing;
}

TEST(StateListing, SaysWhatIsOnDisk) {
  const TempFolder folder;
  const std::string large(kStateChunkBytes + 3, 'x');
  ASSERT_TRUE(WriteFileAtomic(folder.path() / "masters.safetensors", large));
  ASSERT_TRUE(WriteFileAtomic(folder.path() / "state.json", "{}"));
  const StateListing listing = ListState(folder.path(), Hash256{1}, PolicyVersion{7}).value();
  ASSERT_EQ(listing.files.size(), 2u);
  EXPECT_EQ(listing.files[0].name, "masters.safetensors");
  ASSERT_EQ(listing.files[0].chunks.size(), 2u);
  const Bytes tail(3, 'x');
  EXPECT_EQ(listing.files[0].chunks[1], Sha256(tail));
  EXPECT_EQ(listing.bytes(), kStateChunkBytes + 5);
  EXPECT_EQ(DecodeListing(Encode(listing), listing.bytes()).value(), listing);
}

TEST(StateListing, ATeachersFilesStandBesideTheState) {
  const TempFolder folder;
  for (const char* place : {"state/state.json", "teacher/config.json"}) {
    std::filesystem::create_directories((folder.path() / place).parent_path());
    ASSERT_TRUE(WriteFileAtomic(folder.path() / place, place));
  }
  const auto teacher = ListTeacher(folder.path() / "teacher").value();
  const StateListing listing =
      ListState(folder.path() / "state", Hash256{1}, PolicyVersion{7}, teacher).value();
  ASSERT_EQ(listing.files.size(), 2u);
  EXPECT_EQ(listing.files[0].name, "state.json");
  EXPECT_EQ(listing.files[1].name, "teacher.config.json");
  EXPECT_EQ(DecodeListing(Encode(listing), listing.bytes()).value(), listing);
  EXPECT_TRUE(ListTeacher(folder.path() / "none").value().empty());
}

TEST(StateListing, RefusesWhatIsNone) {
  const auto refused = [](const StateListing& listing, std::uint64_t bytes_max = 1'000) {
    const auto read = DecodeListing(Encode(listing), bytes_max);
    return !read && read.error().blame == Blame::kPeer;
  };
  EXPECT_FALSE(refused(Small()));
  EXPECT_TRUE(refused(Small(), 4));
  for (const char* name :
       {"", ".hidden", "../state", "a/b", "Name", "teacher.", "teacher..", "teacher...", "nul\0"}) {
    StateListing listing = Small();
    listing.files[0].name = name;
    EXPECT_EQ(refused(listing), std::string(name) != "nul") << name;
  }
  StateListing chunks = Small();
  chunks.files[0].chunks.push_back(Digest256{3});
  EXPECT_TRUE(refused(chunks));
  StateListing order = Small();
  std::swap(order.files[0], order.files[1]);
  EXPECT_TRUE(refused(order));
  StateListing twice = Small();
  twice.files[1].name = twice.files[0].name;
  EXPECT_TRUE(refused(twice));
  StateListing huge = Small();
  huge.files[0].bytes = ~std::uint64_t{0};
  huge.files[1].bytes = 2;  // their sum overflows
  EXPECT_TRUE(refused(huge));
  const Bytes bytes = Encode(Small());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_FALSE(DecodeListing({bytes.data(), i}, 1'000).has_value());
}

}  // namespace
}  // namespace waggle
