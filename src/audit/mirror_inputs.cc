#include "audit/mirror_inputs.h"

#include <fmt/format.h>

#include <map>

#include "base/folders.h"
#include "base/hex.h"
#include "channel/relay_keeper.h"
#include "policy/chain.h"
#include "policy/store.h"
#include "run/run_folder.h"

namespace waggle {

namespace fs = std::filesystem;

MirrorInputs::MirrorInputs(Places places, const Ops& ops, ThreadPool& pool, Clock& clock,
                           std::function<void(const std::string&)> say)
    : places_(std::move(places)),
      ops_(ops),
      pool_(pool),
      say_(std::move(say)),
      folders_(places_.folders, ops, pool),
      blobs_(clock, /*seed=*/0) {
  blobs_.Tell(places_.relays);
}

Result<Bytes> MirrorInputs::Description(const Hash256& run, const Hash256& hash) {
  return folders_.Description(run, hash);
}

Result<std::unique_ptr<Trainer>> MirrorInputs::State(const RunSite& site, const Hash256& run,
                                                     PolicyVersion version, const Hash256& hash) {
  return folders_.State(site, run, version, hash);
}

// The manifests from a snapshot to `version`. Newest first, because what leads there begins not
// long before it: a chain is as long as a snapshot is worth.
Result<std::vector<Digest256>> MirrorInputs::WayTo(const std::string& relay, const Hash256& run,
                                                   PolicyVersion version) {
  WG_ASSIGN(const auto chain, ChainOf(relay));
  std::vector<PolicyLink> links;
  std::vector<Digest256> digests;  // of the links
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    if (at->version > version) continue;
    WG_ASSIGN(const Bytes encoded, blobs_.Fetch(nullptr, at->manifest, kManifestBytesMax));
    WG_ASSIGN(const PolicyManifest manifest, DecodeManifest(encoded));
    if (manifest.run != run) return Fail(Blame::kPeer, "its policies are of another run");
    links.push_back({manifest.base, manifest.version, manifest.payload_bytes});
    digests.push_back(at->manifest);
    const auto way = ShortestChain(links, version, std::nullopt);
    if (!way) continue;
    std::vector<Digest256> manifests;
    for (const PolicyLink& link : *way) {
      const auto found = std::ranges::find(links, link);
      manifests.push_back(digests[static_cast<std::size_t>(found - links.begin())]);
    }
    return manifests;
  }
  return Fail(Blame::kMachine, "nothing there leads to version {}", version.value);
}

Status MirrorInputs::Gather(const std::string& relay, const fs::path& folder, const RunSite& site,
                            const Hash256& run, PolicyVersion version) {
  WG_ASSIGN(const std::vector<Digest256> way, WayTo(relay, run, version));
  const StoreConfig everything{.snapshots_kept = std::size_t{1} << 40,
                               .payload_bytes_max = WeightBytesMax(site, site.numerics.weights),
                               .incoming_max = way.size() + 1};
  WG_ASSIGN(PolicyStore store, PolicyStore::Open(folder / "policies", run, pool_, everything));
  for (const Digest256& digest : way) {
    if (store.Find(digest) == nullptr) {
      WG_ASSIGN(const Bytes encoded, blobs_.Fetch(nullptr, digest, kManifestBytesMax));
      WG_TRY(store.AddManifest(encoded, digest));
    }
    const PolicyManifest manifest = *store.Find(digest);
    for (const std::size_t chunk : store.Missing(digest)) {
      WG_ASSIGN(const Bytes bytes,
                blobs_.Fetch(nullptr, manifest.chunks[chunk], manifest.ChunkSize(chunk)));
      WG_TRY(store.AddChunk(digest, chunk, bytes));
    }
  }
  return {};
}

Result<std::shared_ptr<const Model>> MirrorInputs::Policy(const RunSite& site, const Hash256& run,
                                                          PolicyVersion version,
                                                          const Hash256& root) {
  auto here = folders_.Policy(site, run, version, root);
  if (here || places_.relays.empty()) return here;
  const fs::path folder = places_.cache / ToHex(root);
  FolderInputs kept({folder}, ops_, pool_);
  WG_TRY(MakeFolder(folder));
  WG_ASSIGN(const FolderLock lock, RunFolder(folder).Lock());  // one process at a time
  std::string tried;
  for (const std::string& relay : places_.relays) {
    if (auto model = kept.Policy(site, run, version, root)) return model;
    say_(fmt::format("policy version {}: asking {}", version.value, relay));
    const Status gathered = Gather(relay, folder, site, run, version);
    if (!gathered) {
      tried += fmt::format("; {}: {}", relay, gathered.error().what);
      if (gathered.error().blame != Blame::kPeer) continue;  // what came is gone on from
    } else {
      auto model = kept.Policy(site, run, version, root);
      if (model) return model;
      tried += fmt::format("; {}: {}", relay, model.error().what);
    }
    // Another history than the evidence's: what is true would not fit to it.
    WG_TRY(RemovePath(folder / "policies"));
  }
  return Fail(Blame::kMachine, "policy version {} with root {}... was not to be had{}",
              version.value, ToHex(root).substr(0, 12), tried);
}

}  // namespace waggle
