// The torrent of a policy's payload (BEP 3): a folder "blob" with one file for each chunk, named by
// the chunk's SHA-256. So any mirror, which has every chunk at <url>/blob/<hash>, is a web seed
// (BEP 19) as it is, and the info dictionary is a pure function of the payload: whoever has the
// payload can make it, and it is itself a blob that its SHA-256 names.
//
// SHA-1 cuts the stream into pieces here and decides nothing: chunks are checked against the
// manifest. Chunks that are equal are one file. Docs: adr/0016.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "crypto/hash.h"
#include "policy/manifest.h"

namespace waggle {

using Infohash = std::array<std::uint8_t, 20>;  // SHA-1 of the info dictionary

// More chunks than these make no torrent: its dictionary is something that everybody must hold.
inline constexpr std::size_t kTorrentFilesMax = std::size_t{1} << 15;

class TorrentLayout {
 public:
  struct File {
    Digest256 hash{};                 // of the chunk: the file's name
    std::vector<std::size_t> chunks;  // that are these bytes; at least one
  };
  // Blame::kPeer: chunks that cannot be files of one torrent, or are too many.
  static Result<TorrentLayout> Of(const PolicyManifest& manifest);

  const std::vector<File>& files() const { return files_; }  // in order, end to end
  std::uint64_t bytes() const { return bytes_; }             // of all of them
  std::uint64_t FileOffset(std::size_t file) const { return std::uint64_t{file} * file_bytes_; }
  std::uint64_t FileSize(std::size_t file) const {
    return std::min<std::uint64_t>(file_bytes_, bytes_ - FileOffset(file));
  }
  std::size_t FileOf(std::size_t chunk) const { return file_of_[chunk]; }
  std::size_t FileAt(std::uint64_t offset) const { return offset / file_bytes_; }

  std::uint32_t piece_bytes() const { return piece_bytes_; }
  std::size_t pieces() const { return (bytes_ + piece_bytes_ - 1) / piece_bytes_; }
  // Pieces [first, second) that have something of this file.
  std::pair<std::size_t, std::size_t> PiecesOf(std::size_t file) const;

  // The info dictionary: the layout, and the SHA-1 of each piece.
  Bytes Encode(const std::vector<Infohash>& pieces) const;
  std::size_t info_bytes() const { return Head().size() + pieces() * sizeof(Infohash) + 1; }
  // Blame::kPeer: not an info dictionary of this layout. All that it can say freely is hashes.
  Status CheckInfo(std::span<const std::uint8_t> info) const;

 private:
  std::string Head() const;  // up to the hashes

  std::uint32_t piece_bytes_ = 0, file_bytes_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<File> files_;
  std::vector<std::size_t> file_of_;
};

// The info dictionary of a payload.
Result<Bytes> MakeTorrentInfo(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              ThreadPool& pool);
Infohash InfohashOf(std::span<const std::uint8_t> info);

}  // namespace waggle
