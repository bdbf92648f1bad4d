// Blobs as files named by their hashes: <root>/blob/<hash in hex>, which any static HTTP server can
// serve as it is. A file is complete or absent, and is what its name says when it is written.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "base/wire.h"
#include "net/server.h"

namespace waggle {

// Thread-safe. One process.
class BlobFolder final : public BlobSource {
 public:
  // Opens or creates. Files that are not what their names say are removed.
  static Result<std::unique_ptr<BlobFolder>> OpenAt(const std::filesystem::path& root);

  // Blame::kPeer if they are not the bytes of this hash. Twice changes nothing.
  Status Put(const Digest256& hash, std::span<const std::uint8_t> bytes);
  bool Has(const Digest256& hash) const;
  Result<Bytes> Get(const Digest256& hash) const;  // REQUIRES Has
  // Removes everything else. What is being read stays readable.
  Status Retain(const std::set<Digest256>& kept);
  std::uint64_t bytes() const;  // of all files

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override;

 private:
  explicit BlobFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path FileOf(const Digest256& hash) const;

  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::map<Digest256, std::uint64_t> sizes_;  // guarded by mutex_
};

}  // namespace waggle
