#include "torrent/layout.h"

#include <gtest/gtest.h>

#include <libtorrent/file_storage.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/torrent_info.hpp>

#include "base/hex.h"
#include "torrent/test_payload.h"

namespace waggle {
namespace {

// What libtorrent reads in a dictionary.
std::shared_ptr<lt::torrent_info> Theirs(const Bytes& info) {
  std::string file = "d4:info" + std::string(info.begin(), info.end()) + "e";
  return std::make_shared<lt::torrent_info>(
      lt::span<const char>(file.data(), static_cast<std::ptrdiff_t>(file.size())), lt::from_span);
}

TEST(TorrentLayout, IsWhatLibtorrentReads) {
  for (const std::size_t bytes : {1, 16384, 65536, 65537, 400'000, 20'000'000}) {
    const TestPayload of(bytes);
    const TorrentLayout layout = TorrentLayout::Of(of.manifest).value();
    const auto theirs = Theirs(of.info);
    EXPECT_EQ(of.info.size(), layout.info_bytes());
    EXPECT_EQ(theirs->info_hashes().v1.to_string(),
              std::string(reinterpret_cast<const char*>(InfohashOf(of.info).data()), 20));
    EXPECT_FALSE(theirs->info_hashes().has_v2());
    EXPECT_EQ(theirs->total_size(), static_cast<std::int64_t>(bytes));
    EXPECT_EQ(theirs->piece_length(), static_cast<int>(layout.piece_bytes()));
    ASSERT_EQ(theirs->num_files(), static_cast<int>(layout.files().size()));
    for (std::size_t f = 0; f < layout.files().size(); ++f) {
      const lt::file_index_t file(static_cast<int>(f));
      EXPECT_EQ(theirs->files().file_path(file), "blob/" + ToHex(layout.files()[f].hash));
      EXPECT_EQ(theirs->files().file_size(file), static_cast<std::int64_t>(layout.FileSize(f)));
    }
    // The piece in the middle, hashed by hand.
    const std::size_t piece = layout.pieces() / 2, at = piece * layout.piece_bytes();
    const std::size_t size = std::min<std::size_t>(layout.piece_bytes(), bytes - at);
    const char* begin = reinterpret_cast<const char*>(of.payload.data()) + at;
    EXPECT_EQ(theirs->hash_for_piece(lt::piece_index_t(static_cast<int>(piece))),
              lt::hasher(begin, static_cast<int>(size)).final());
  }
}

TEST(TorrentLayout, EqualChunksAreOneFile) {
  const TestPayload of(Bytes(5 * 65536), 65536);
  const TorrentLayout layout = TorrentLayout::Of(of.manifest).value();
  ASSERT_EQ(layout.files().size(), 1u);
  EXPECT_EQ(layout.files()[0].chunks.size(), 5u);
  EXPECT_EQ(layout.bytes(), 65536u);
  EXPECT_EQ(of.info.size(), layout.info_bytes());
}

TEST(TorrentLayout, RefusesAnythingButItsOwnDictionary) {
  const TestPayload of(300'000), other(300'000, 64 << 10, 2);
  const TorrentLayout layout = TorrentLayout::Of(of.manifest).value();
  ASSERT_TRUE(layout.CheckInfo(of.info));
  EXPECT_FALSE(layout.CheckInfo(other.info));
  EXPECT_FALSE(layout.CheckInfo({}));
  // Every byte is what it must be, or belongs to a hash.
  std::size_t hashes = 0;
  for (std::size_t i = 0; i < of.info.size(); ++i) {
    Bytes changed = of.info;
    changed[i] ^= 1;
    const Status status = layout.CheckInfo(changed);
    if (status) {
      ++hashes;
    } else {
      EXPECT_EQ(status.error().blame, Blame::kPeer);
    }
  }
  EXPECT_EQ(hashes, 20 * layout.pieces());
}

TEST(TorrentLayout, RefusesManifestsThatAreNoTorrent) {
  TestPayload of(100'000);
  PolicyManifest same = of.manifest;
  same.chunks[1] = same.chunks[0];  // as long as another, and shorter
  EXPECT_EQ(TorrentLayout::Of(same).error().blame, Blame::kPeer);
  PolicyManifest many = of.manifest;
  many.chunk_bytes = 4096;
  many.chunks.resize(kTorrentFilesMax + 1);
  many.payload_bytes = many.chunks.size() * 4096;
  EXPECT_EQ(TorrentLayout::Of(many).error().blame, Blame::kPeer);
  many.chunks.clear();
  EXPECT_EQ(TorrentLayout::Of(many).error().blame, Blame::kPeer);
}

}  // namespace
}  // namespace waggle
