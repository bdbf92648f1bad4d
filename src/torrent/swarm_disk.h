// libtorrent's disk, as we have it: reads come from payloads wherever they are, writes go to a file
// without a name. Included by this folder's .cc files only.
#pragma once

#include <libtorrent/disk_interface.hpp>
#include <libtorrent/session_params.hpp>
#include <map>
#include <memory>
#include <mutex>

#include "base/descriptor.h"
#include "torrent/layout.h"
#include "torrent/swarm.h"

namespace waggle {

// Of one torrent. Thread-safe.
class SwarmStorage {
 public:
  explicit SwarmStorage(TorrentLayout layout) : layout_(std::move(layout)) {}

  const TorrentLayout& layout() const { return layout_; }
  // Room for what comes. Blame::kMachine.
  Status OpenScratch(const std::filesystem::path& folder);
  // From here on reads come from there.
  void ReadFrom(std::shared_ptr<PayloadSource> source);

  // At an offset of the files end to end. REQUIRES offset + size <= layout().bytes().
  Status Read(std::uint64_t offset, std::span<std::uint8_t> out) const;
  Status Write(std::uint64_t offset, std::span<const std::uint8_t> bytes);

 private:
  const TorrentLayout layout_;
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<PayloadSource> source_;
  Descriptor scratch_;
};

// Which storages there are, for the disk that a session makes. Thread-safe.
class SwarmStorages {
 public:
  void Put(const lt::sha1_hash& infohash, std::shared_ptr<SwarmStorage> storage);
  void Remove(const lt::sha1_hash& infohash);
  std::shared_ptr<SwarmStorage> Find(const lt::sha1_hash& infohash) const;

 private:
  mutable std::mutex mutex_;
  std::map<lt::sha1_hash, std::shared_ptr<SwarmStorage>> storages_;
};

lt::disk_io_constructor_type SwarmDisk(std::shared_ptr<SwarmStorages> storages);

}  // namespace waggle
