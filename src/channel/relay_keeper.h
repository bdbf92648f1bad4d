// What a relay keeps: the newest versions that were announced, as far back as its disk goes.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/strong.h"
#include "channel/blob_fetcher.h"
#include "channel/blob_folder.h"
#include "channel/swarm_channel.h"
#include "policy/manifest.h"

namespace waggle {

struct AnnouncedPolicy {
  PolicyVersion version;
  Digest256 manifest{};
  std::optional<Magnet> torrent = std::nullopt;  // that the host told; not part of a relay's list
  bool operator==(const AnnouncedPolicy&) const = default;
};

// One line each, "<version> <manifest in hex>", in order: what one relay tells another. Unsigned:
// believing it costs a relay disk, and volunteers, who do not read it, nothing.
std::string ToText(std::span<const AnnouncedPolicy> chain);
// Blame::kPeer names the line.
Result<std::vector<AnnouncedPolicy>> ParseChain(std::string_view text);
inline constexpr std::size_t kChainMax = 1024;
// What the relay at this URL tells of its chain; blocks.
Result<std::vector<AnnouncedPolicy>> ChainOf(const std::string& url);

class RelayKeeper {
 public:
  // All outlive the keeper. swarm: from which it takes and to which it gives; may be null.
  RelayKeeper(BlobFolder& folder, BlobFetcher& blobs, std::uint64_t disk_bytes,
              SwarmChannel* swarm = nullptr)
      : folder_(folder), blobs_(blobs), disk_bytes_(disk_bytes), swarm_(swarm) {}

  // Blocks: forgets what is not of these versions (oldest first) or does not fit, then fetches what
  // is missing, newest version first. Ends early, and well, when `stop` says so. An error leaves
  // what has come.
  Status Follow(NodeClient* host, std::span<const AnnouncedPolicy> chain,
                const std::function<bool()>& stop);

 private:
  struct Kept {
    PolicyManifest manifest;
    std::optional<Magnet> torrent;
  };
  Result<PolicyManifest> ManifestOf(NodeClient* host, const Digest256& digest);
  std::vector<std::size_t> Missing(const PolicyManifest& manifest) const;
  Status Fill(NodeClient* host, const Kept& kept, const std::function<bool()>& stop);
  Status Give(NodeClient* host, const Kept& kept);

  BlobFolder& folder_;
  BlobFetcher& blobs_;
  const std::uint64_t disk_bytes_;
  SwarmChannel* const swarm_;
};

}  // namespace waggle
