#include "torrent/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <libtorrent/hasher.hpp>
#include <map>

#include "base/check.h"
#include "base/hex.h"

namespace waggle {
namespace {

// A piece can be given on when it is whole: small ones spread sooner, each costs 20 bytes of the
// dictionary and a word on each line.
constexpr std::uint64_t kPiecesWanted = 512;
constexpr std::uint64_t kPieceBytesMin = 16 << 10, kPieceBytesMax = 4 << 20;

Infohash Sha1(lt::hasher& hasher) {
  const lt::sha1_hash hash = hasher.final();
  Infohash out;
  std::memcpy(out.data(), hash.data(), out.size());
  return out;
}

lt::span<const char> Chars(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::ptrdiff_t>(bytes.size())};
}

}  // namespace

Result<TorrentLayout> TorrentLayout::Of(const PolicyManifest& manifest) {
  const std::size_t chunks = manifest.chunks.size();
  if (chunks == 0 || chunks > kTorrentFilesMax)
    return Fail(Blame::kPeer, "{} chunks, a torrent has 1 to {}", chunks, kTorrentFilesMax);
  TorrentLayout layout;
  layout.file_bytes_ = manifest.chunk_bytes;
  std::map<Digest256, std::size_t> known;
  for (std::size_t c = 0; c < chunks; ++c) {
    const auto [at, fresh] = known.emplace(manifest.chunks[c], layout.files_.size());
    const std::size_t bytes = manifest.ChunkSize(c);
    // Only the last is shorter, and it must then be the last file.
    if (bytes == 0 || (!fresh && bytes != manifest.chunk_bytes))
      return Fail(Blame::kPeer, "chunk {} is empty, or has another's hash and not its size", c);
    if (fresh) {
      layout.files_.push_back({manifest.chunks[c], {}});
      layout.bytes_ += bytes;
    }
    layout.files_[at->second].chunks.push_back(c);
    layout.file_of_.push_back(at->second);
  }
  layout.piece_bytes_ = static_cast<std::uint32_t>(
      std::clamp(std::bit_ceil((layout.bytes_ + kPiecesWanted - 1) / kPiecesWanted), kPieceBytesMin,
                 kPieceBytesMax));
  return layout;
}

std::pair<std::size_t, std::size_t> TorrentLayout::PiecesOf(std::size_t file) const {
  const std::uint64_t begin = FileOffset(file), end = begin + FileSize(file);
  return {begin / piece_bytes_, (end + piece_bytes_ - 1) / piece_bytes_};
}

std::string TorrentLayout::Head() const {
  std::string head = "d5:filesl";
  for (std::size_t f = 0; f < files_.size(); ++f)
    head += fmt::format("d6:lengthi{}e4:pathl64:{}ee", FileSize(f), ToHex(files_[f].hash));
  return head + fmt::format("e4:name4:blob12:piece lengthi{}e6:pieces{}:", piece_bytes_,
                            pieces() * sizeof(Infohash));
}

Bytes TorrentLayout::Encode(const std::vector<Infohash>& pieces) const {
  Check(pieces.size() == this->pieces(), "a hash for each piece");
  const std::string head = Head();
  Bytes out;
  out.reserve(info_bytes());
  out.insert(out.end(), head.begin(), head.end());
  for (const Infohash& piece : pieces) out.insert(out.end(), piece.begin(), piece.end());
  out.push_back('e');
  return out;
}

// Nothing is parsed: all but the hashes is what it must be.
Status TorrentLayout::CheckInfo(std::span<const std::uint8_t> info) const {
  const std::string head = Head();
  if (info.size() != info_bytes() || info.back() != 'e' ||
      !std::equal(head.begin(), head.end(), info.begin(),
                  [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }))
    return Fail(Blame::kPeer, "a torrent's dictionary of {} bytes that is not this manifest's",
                info.size());
  return {};
}

Result<Bytes> MakeTorrentInfo(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              ThreadPool& pool) {
  WG_ASSIGN(const TorrentLayout layout, TorrentLayout::Of(manifest));
  std::vector<Infohash> pieces(layout.pieces());
  pool.Run(pieces.size(), [&](std::size_t p) {
    lt::hasher hasher;
    std::uint64_t at = std::uint64_t{p} * layout.piece_bytes();
    const std::uint64_t end = std::min(at + layout.piece_bytes(), layout.bytes());
    while (at < end) {
      const std::size_t file = layout.FileAt(at);
      const std::uint64_t offset = at - layout.FileOffset(file);
      const std::uint64_t bytes = std::min(end - at, layout.FileSize(file) - offset);
      hasher.update(Chars(
          ChunkOf(manifest, payload, layout.files()[file].chunks.front()).subspan(offset, bytes)));
      at += bytes;
    }
    pieces[p] = Sha1(hasher);
  });
  return layout.Encode(pieces);
}

Infohash InfohashOf(std::span<const std::uint8_t> info) {
  lt::hasher hasher(Chars(info));
  return Sha1(hasher);
}

}  // namespace waggle
