#include "channel/relay_keeper.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"
#include "http/client.h"

namespace waggle {
namespace {

// Straight from the files.
class FolderSource final : public PayloadSource {
 public:
  FolderSource(BlobFolder& folder, PolicyManifest manifest)
      : folder_(folder), manifest_(std::move(manifest)) {}
  Status Read(std::size_t chunk, std::uint64_t offset, std::span<std::uint8_t> out) override {
    WG_ASSIGN(const auto blob, folder_.Open(manifest_.chunks[chunk]));
    if (blob == nullptr || blob->size() != manifest_.ChunkSize(chunk))
      return Fail(Blame::kMachine, "a chunk has gone from the relay's folder");
    return blob->Read(offset, std::as_writable_bytes(out));
  }

 private:
  BlobFolder& folder_;
  const PolicyManifest manifest_;
};

}  // namespace

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

Result<std::vector<AnnouncedPolicy>> ChainOf(const std::string& url) {
  const HttpClientLimits limits{.body_bytes_max = kChainMax * 100};
  WG_ASSIGN(const std::string text, CallForText({.url = url + "/chain"}, limits));
  return ParseChain(text);
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

std::vector<std::size_t> RelayKeeper::Missing(const PolicyManifest& manifest) const {
  std::vector<std::size_t> missing;
  for (std::size_t c = 0; c < manifest.chunks.size(); ++c)
    if (!folder_.Has(manifest.chunks[c])) missing.push_back(c);
  return missing;
}

// The swarm first, if there is one; what it does not give, from mirrors and the host.
Status RelayKeeper::Fill(NodeClient* host, const Kept& kept, const std::function<bool()>& stop) {
  const PolicyManifest& manifest = kept.manifest;
  if (swarm_ != nullptr && kept.torrent) {
    WG_TRY(swarm_->Fetch(blobs_, host,
                         {.manifest = manifest,
                          .magnet = *kept.torrent,
                          .mirrors = {},
                          .chunks = Missing(manifest),
                          .stop = stop},
                         [&](std::size_t chunk, std::span<const std::uint8_t> bytes) {
                           return folder_.Put(manifest.chunks[chunk], bytes);
                         }));
  }
  for (const std::size_t c : Missing(manifest)) {
    if (stop()) return {};
    WG_ASSIGN(const Bytes chunk, blobs_.Fetch(host, manifest.chunks[c], manifest.ChunkSize(c)));
    WG_TRY(folder_.Put(manifest.chunks[c], chunk));
  }
  return Give(host, kept);
}

// To the swarm, and the dictionary to whoever asks for blobs.
Status RelayKeeper::Give(NodeClient* host, const Kept& kept) {
  const auto layout = TorrentLayout::Of(kept.manifest);
  if (swarm_ == nullptr || !kept.torrent || !layout || swarm_->Find(DigestOf(kept.manifest)))
    return {};
  Bytes info;
  if (folder_.Has(kept.torrent->info)) {
    WG_ASSIGN(info, folder_.Get(kept.torrent->info));
  } else {
    WG_ASSIGN(info, blobs_.Fetch(host, kept.torrent->info, layout->info_bytes()));
  }
  WG_TRY(layout->CheckInfo(info));
  WG_TRY(folder_.Put(kept.torrent->info, info));
  return swarm_->Give(kept.manifest, TorrentOf(std::move(info)),
                      std::make_shared<FolderSource>(folder_, kept.manifest));
}

Status RelayKeeper::Follow(NodeClient* host, std::span<const AnnouncedPolicy> chain,
                           const std::function<bool()>& stop) {
  std::set<Digest256> files, manifests;
  std::vector<Kept> wanted;  // newest first
  std::uint64_t bytes = 0;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    if (stop()) return {};
    WG_ASSIGN(PolicyManifest manifest, ManifestOf(host, at->manifest));
    const std::uint64_t own = Encode(manifest).size() + manifest.payload_bytes;
    if (own > disk_bytes_ - bytes) break;
    bytes += own;
    manifests.insert(at->manifest);
    files.insert(at->manifest);
    files.insert(manifest.chunks.begin(), manifest.chunks.end());
    if (at->torrent) files.insert(at->torrent->info);
    wanted.push_back({std::move(manifest), at->torrent});
  }
  if (swarm_ != nullptr) swarm_->Retain(manifests);
  WG_TRY(folder_.Retain(files));
  // Updates first: those who sample wait for them, newcomers can wait for the rest.
  std::stable_partition(wanted.begin(), wanted.end(),
                        [](const Kept& kept) { return kept.manifest.kind != PolicyKind::kFull; });
  for (const Kept& kept : wanted) {
    if (stop()) return {};
    WG_TRY(Fill(host, kept, stop));
  }
  return {};
}

}  // namespace waggle
