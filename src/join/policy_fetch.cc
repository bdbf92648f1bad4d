#include "join/policy_fetch.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "base/folders.h"
#include "base/hex.h"

namespace waggle {
namespace {

// Attempts at one version: files that turn out to be damaged are fetched again.
constexpr int kAttempts = 3;
// The replica begins anew at a version of its own when what leads on from its snapshot outweighs
// half of it, or is this many.
constexpr std::size_t kUpdatesMax = 64;

class FalsifiedSource final : public TensorSource {
 public:
  FalsifiedSource(const PolicyImage& image, const FalsifyWeights& falsify)
      : source_(image), falsify_(falsify) {}
  std::optional<TensorInfo> Find(const std::string& name) const override {
    return source_.Find(name);
  }
  void Read(const std::string& name, std::size_t first, std::size_t count,
            float* out) const override {
    source_.Read(name, first, count, out);
    falsify_(name, first, std::span(out, count));
  }

 private:
  const ImageSource source_;
  const FalsifyWeights& falsify_;
};

}  // namespace

Result<std::unique_ptr<PolicyFetch>> PolicyFetch::Open(Shape shape, Places places, const Ops& ops,
                                                       Clock& clock) {
  WG_TRY(MakeFolder(places.folder));
  const auto file = places.folder / "lock";
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) return Fail(Blame::kMachine, "{}: {}", file.string(), std::strerror(errno));
  std::unique_ptr<PolicyFetch> fetch(
      new PolicyFetch(std::move(shape), std::move(places), ops, clock, lock));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0)
    return Fail(Blame::kOperator, "{} is in use: another process samples with this key",
                file.string());
  WG_ASSIGN(
      PolicyStore store,
      PolicyStore::Open(
          fetch->places_.folder, fetch->shape_.run, fetch->pool_,
          {.snapshots_kept = 1, .spare_bytes = fetch->places_.spare_bytes, .incoming_max = 256}));
  fetch->store_.emplace(std::move(store));
  return fetch;
}

PolicyFetch::PolicyFetch(Shape shape, Places places, const Ops& ops, Clock& clock, int lock)
    : shape_(std::move(shape)),
      places_(std::move(places)),
      form_(FormOf(shape_.model, shape_.numerics.weights, shape_.lora ? &*shape_.lora : nullptr)),
      ops_(ops),
      lock_(lock),
      clock_(clock),
      blobs_(clock, places_.seed) {}

PolicyFetch::~PolicyFetch() {
  Hurry();
  if (under_way_.valid()) under_way_.wait();
}

void PolicyFetch::Start(NodeClient& client, const FetchPolicy& wanted) {
  Check(!busy(), "one policy at a time");
  Check(!wanted.chain.empty(), "a policy is wanted with the chain that leads to it");
  under_way_ =
      std::async(std::launch::async, [this, &client, wanted] { return Run(client, wanted); });
}

std::optional<Result<PolicyFetch::Loaded>> PolicyFetch::Take(int timeout_ms) {
  if (!under_way_.valid()) return std::nullopt;
  if (under_way_.wait_for(std::chrono::milliseconds(timeout_ms)) != std::future_status::ready)
    return std::nullopt;
  return under_way_.get();
}

Result<PolicyFetch::Loaded> PolicyFetch::Run(NodeClient& client, const FetchPolicy& wanted) {
  sources_ = places_.mirrors;
  sources_.insert(sources_.end(), wanted.sources.begin(), wanted.sources.end());
  blobs_.Tell(sources_);
  HearOfSwarm(wanted);
  auto made = Image(client, wanted);
  for (int attempt = 1; !made && made.error().blame == Blame::kMachine && attempt < kAttempts;
       ++attempt)
    made = Image(client, wanted);
  if (!made) return Forward(std::move(made.error()));
  PolicyImage image = std::move(*made);
  std::optional<LoraParameters> lora;
  if (shape_.lora) {
    WG_ASSIGN(lora, LoraOf(image, shape_.model, *shape_.lora));
  }
  WG_ASSIGN(auto model, Model::Create(shape_.model, shape_.numerics, ImageSource(image),
                                      lora ? &*lora : nullptr, ops_));
  auto sampler = model;
  if (places_.falsify) {
    WG_ASSIGN(sampler,
              Model::Create(shape_.model, shape_.numerics, FalsifiedSource(image, places_.falsify),
                            lora ? &*lora : nullptr, ops_));
  }
  WG_TRY(KeepShort(wanted.version, image));
  if (swarm_channel_) {  // a favour, and no reason not to sample
    const Status given = swarm_channel_->Follow(*store_);
    if (!given && places_.say) places_.say(fmt::format("not given on: {}", given.error().what));
  }
  image_.emplace(std::move(image));
  return Loaded{wanted.version, std::move(model), std::move(sampler)};
}

// From the store, after what it lacks on the cheapest way has been fetched.
Result<PolicyImage> PolicyFetch::Image(NodeClient& client, const FetchPolicy& wanted) {
  // The newest that was announced: a host that took back what came after it is believed.
  WG_TRY(store_->RemoveFrom(PolicyVersion{wanted.version.value + 1}));
  WG_ASSIGN(const auto announced, Look(client, wanted));
  std::vector<PolicyLink> links = store_->Links();
  for (PolicyLink& link : links) link.bytes = 0;  // they are here
  std::map<std::pair<std::optional<PolicyVersion>, PolicyVersion>, Digest256> coming;
  for (const auto& [digest, manifest] : announced) {
    const PolicyLink link{manifest.base, manifest.version, manifest.payload_bytes};
    if (store_->DigestOf(link)) continue;
    coming[{link.base, link.version}] = digest;
    links.push_back(link);
  }
  const Digest256 root = announced.at(wanted.manifest).root;
  const auto held = image_ ? store_->VersionOf(image_->root()) : std::nullopt;
  const auto chain = ShortestChain(links, wanted.version, held);
  if (!chain) return Fail(Blame::kPeer, "no way to version {} was announced", wanted.version.value);
  for (const PolicyLink& link : *chain) {
    const auto at = coming.find({link.base, link.version});
    if (at != coming.end()) WG_TRY(Get(client, at->second, announced.at(at->second)));
  }
  WG_ASSIGN(auto image, store_->Restore(wanted.version, form_, image_ ? &*image_ : nullptr));
  if (!image)
    return Fail(Blame::kMachine, "version {} did not stay in {}", wanted.version.value,
                places_.folder.string());
  if (image->root() != root)
    return Fail(Blame::kPeer, "version {} has not the root that was announced",
                wanted.version.value);
  return std::move(*image);
}

// The manifests on the way back from the wanted version, as far as they can matter: to one that is
// here, or to a snapshot, and beyond it while updates are cheaper.
Result<std::map<Digest256, PolicyManifest>> PolicyFetch::Look(NodeClient& client,
                                                              const FetchPolicy& wanted) {
  std::map<Digest256, PolicyManifest> announced;
  std::uint64_t updates = 0, cheapest = UINT64_MAX;
  for (auto at = wanted.chain.rbegin(); at != wanted.chain.rend(); ++at) {
    WG_ASSIGN(const PolicyManifest manifest, ManifestOf(client, *at));
    announced.emplace(at->manifest, manifest);
    if (manifest.kind == PolicyKind::kFull) {
      cheapest = std::min(cheapest, updates + manifest.payload_bytes);
      if (!store_->Newest() || updates >= cheapest) break;
      continue;
    }
    updates += manifest.payload_bytes;
    if (updates >= cheapest || Holds(*manifest.base, manifest.base_root)) break;
  }
  WG_TRY(ForgetOtherHistory(announced));
  return announced;
}

// Whether the store, or the policy at hand, leads to this version.
bool PolicyFetch::Holds(PolicyVersion version, const Digest256& root) const {
  const auto held = image_ ? store_->VersionOf(image_->root()) : std::nullopt;
  return store_->RootOf(version) == root && ShortestChain(store_->Links(), version, held);
}

Result<PolicyManifest> PolicyFetch::ManifestOf(NodeClient& client,
                                               const PolicyAnnouncement& announced) {
  if (const PolicyManifest* known = store_->Find(announced.manifest)) return *known;
  WG_ASSIGN(const Bytes encoded, blobs_.Fetch(&client, announced.manifest, kManifestBytesMax));
  WG_ASSIGN(PolicyManifest manifest, DecodeManifest(encoded));
  if (manifest.run != shape_.run || manifest.version != announced.version)
    return Fail(Blame::kPeer, "the manifest is of another run or version than was announced");
  // A payload is never larger than all weights and a frame around each.
  std::uint64_t largest = 1 << 16;
  for (const auto& [name, form] : form_) largest += form.bytes() + name.size() + 256;
  if (manifest.payload_bytes > largest)
    return Fail(Blame::kPeer, "a policy of {} bytes, where the model's weights are {}",
                manifest.payload_bytes, largest);
  return manifest;
}

// A host that resumed further back may have gone another way since: it is believed.
Status PolicyFetch::ForgetOtherHistory(const std::map<Digest256, PolicyManifest>& announced) {
  for (const auto& [digest, manifest] : announced) {
    const auto known = store_->DigestOf({manifest.base, manifest.version});
    const auto root = store_->RootOf(manifest.version);
    if ((known && *known != digest) || (root && *root != manifest.root))
      WG_TRY(store_->RemoveFrom(manifest.version));
    if (!manifest.base) continue;
    const auto base_root = store_->RootOf(*manifest.base);
    if (base_root && *base_root != manifest.base_root) WG_TRY(store_->RemoveFrom(*manifest.base));
  }
  return {};
}

Status PolicyFetch::Get(NodeClient& client, const Digest256& digest,
                        const PolicyManifest& manifest) {
  WG_TRY(store_->AddManifest(Encode(manifest), digest));
  WG_TRY(FromSwarm(client, digest, manifest));
  for (const std::size_t chunk : store_->Missing(digest)) {
    WG_ASSIGN(const Bytes bytes,
              blobs_.Fetch(&client, manifest.chunks[chunk], manifest.ChunkSize(chunk)));
    WG_TRY(store_->AddChunk(digest, chunk, bytes));
  }
  return {};
}

// Nobody opens a port for a run that has no swarm.
void PolicyFetch::HearOfSwarm(const FetchPolicy& wanted) {
  magnets_.clear();
  if (!places_.swarm) return;
  for (const PolicyAnnouncement& announced : wanted.chain) {
    for (const std::string& source : announced.sources)
      if (auto magnet = ParseMagnet(source)) magnets_.emplace(announced.manifest, *magnet);
  }
  if (magnets_.empty() || std::exchange(swarm_tried_, true)) return;
  auto swarm = Swarm::Open(*places_.swarm, clock_);
  if (!swarm) {
    if (places_.say) places_.say(fmt::format("without the swarm: {}", swarm.error().what));
    return;
  }
  swarm_ = std::move(*swarm);
  swarm_channel_.emplace(*swarm_, pool_, clock_);
  if (places_.say)
    places_.say(
        fmt::format("giving policies to other volunteers, BitTorrent on port {}", swarm_->port()));
}

// What it does not give is still missing afterwards.
Status PolicyFetch::FromSwarm(NodeClient& client, const Digest256& digest,
                              const PolicyManifest& manifest) {
  const auto magnet = magnets_.find(digest);
  if (!swarm_channel_ || magnet == magnets_.end()) return {};
  return swarm_channel_->Fetch(
      blobs_, &client,
      {.manifest = manifest,
       .magnet = magnet->second,
       .mirrors = sources_,
       .chunks = store_->Missing(digest)},
      [&](std::size_t chunk, std::span<const std::uint8_t> bytes) -> Status {
        WG_TRY(store_->AddChunk(digest, chunk, bytes));
        return {};
      });
}

// Else the chain on disk would grow with the run. The snapshot is what the host's would be, to the
// byte, so nothing can contradict it.
Status PolicyFetch::KeepShort(PolicyVersion version, const PolicyImage& image) {
  std::uint64_t updates = 0, bytes = 0;
  for (const PolicyLink& link : store_->Links()) {
    updates += link.base ? 1 : 0;
    bytes += link.base ? link.bytes : 0;
  }
  if (updates < kUpdatesMax && 2 * bytes < image.bytes()) return {};
  const Bytes payload = EncodeSnapshot(image);
  const PolicyManifest manifest =
      MakeManifest({.run = shape_.run, .version = version, .root = image.root()}, payload, pool_);
  return store_->Publish(manifest, payload);
}

}  // namespace waggle
