#include "channel/relay_keeper.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"

namespace waggle {

std::string ToText(std::span<const AnnouncedPolicy> chain) {
  std::string text;
  for (const AnnouncedPolicy& one : chain)
    text += std::to_string(one.version.value) + " " + ToHex(one.manifest) + "\n";
  return text;
}

Result<std::vector<AnnouncedPolicy>> ParseChain(std::string_view text) {
  std::vector<AnnouncedPolicy> chain;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    AnnouncedPolicy one;
    const char* last = line.data() + line.size();
    const auto number = std::from_chars(line.data(), last, one.version.value);
    const bool spaced = number.ec == std::errc() && number.ptr != last && *number.ptr == ' ';
    const auto hash =
        FromHex(spaced ? line.substr(static_cast<std::size_t>(number.ptr + 1 - line.data())) : "");
    if (!spaced || !hash || hash->size() != one.manifest.size() || chain.size() >= kChainMax)
      return Fail(Blame::kPeer, "line {} of a relay's chain", chain.size() + 1);
    std::ranges::copy(*hash, one.manifest.begin());
    chain.push_back(one);
  }
  return chain;
}

Result<PolicyManifest> RelayKeeper::ManifestOf(NodeClient* host, const Digest256& digest) {
  if (folder_.Has(digest)) {
    WG_ASSIGN(const Bytes bytes, folder_.Get(digest));
    return DecodeManifest(bytes);
  }
  WG_ASSIGN(const Bytes bytes, blobs_.Fetch(host, digest, kManifestBytesMax));
  WG_ASSIGN(PolicyManifest manifest, DecodeManifest(bytes));
  WG_TRY(folder_.Put(digest, bytes));
  return manifest;
}

Status RelayKeeper::Follow(NodeClient* host, std::span<const AnnouncedPolicy> chain,
                           const std::function<bool()>& stop) {
  std::set<Digest256> kept;
  std::vector<PolicyManifest> wanted;  // newest first
  std::uint64_t bytes = 0;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    if (stop()) return {};
    WG_ASSIGN(PolicyManifest manifest, ManifestOf(host, at->manifest));
    const std::uint64_t own = Encode(manifest).size() + manifest.payload_bytes;
    if (own > disk_bytes_ - bytes) break;
    bytes += own;
    kept.insert(at->manifest);
    kept.insert(manifest.chunks.begin(), manifest.chunks.end());
    wanted.push_back(std::move(manifest));
  }
  WG_TRY(folder_.Retain(kept));
  // Updates first: those who sample wait for them, newcomers can wait for the rest.
  std::ranges::stable_partition(
      wanted, [](const PolicyManifest& m) { return m.kind != PolicyKind::kFull; });
  for (const PolicyManifest& manifest : wanted) {
    for (std::size_t c = 0; c < manifest.chunks.size(); ++c) {
      if (folder_.Has(manifest.chunks[c])) continue;
      if (stop()) return {};
      WG_ASSIGN(const Bytes chunk, blobs_.Fetch(host, manifest.chunks[c], manifest.ChunkSize(c)));
      WG_TRY(folder_.Put(manifest.chunks[c], chunk));
    }
  }
  return {};
}

}  // namespace waggle
