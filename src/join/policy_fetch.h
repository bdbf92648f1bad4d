// Policies as a volunteer gets them: manifests, the cheapest way from what it has on disk, chunks,
// image, working weights, on a thread of its own. Nothing is sampled from that does not have the
// root which was announced. A version is complete and verified, or it is not there
// (policy/store.h), so a volunteer that was killed goes on from the chunks that it had.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>

#include "base/descriptor.h"
#include "channel/blob_fetcher.h"
#include "channel/swarm_channel.h"
#include "model/model.h"
#include "policy/model_image.h"
#include "policy/store.h"
#include "roles/join_core.h"

namespace waggle {

// What an adversary does to weights before it samples under them: to values [first, first + n) of
// a tensor.
using FalsifyWeights =
    std::function<void(const std::string& tensor, std::size_t first, std::span<float> values)>;

class PolicyFetch {
 public:
  struct Shape {
    Hash256 run{};
    ModelConfig model;
    NumericsConfig numerics;
    std::optional<LoraConfig> lora;
  };
  struct Places {
    std::filesystem::path folder;      // of the replica; one process at a time
    std::vector<std::string> mirrors;  // the volunteer's own, beside those that the host tells
    std::uint64_t seed = 0;            // of the draw among mirrors
    std::uint64_t spare_bytes = 0;     // of past versions that are kept, for audits
    // Takes part in the run's swarm, from when the host first tells of one; nothing: does not.
    std::optional<SwarmOptions> swarm = std::nullopt;
    std::function<void(const std::string&)> say = nullptr;  // the fetch's thread
    FalsifyWeights falsify = nullptr;                       // Loaded::sampler
  };
  // Blame::kOperator when another process has the folder.
  static Result<std::unique_ptr<PolicyFetch>> Open(Shape shape, Places places, const Ops& ops,
                                                   Clock& clock);
  ~PolicyFetch();  // after the fetch that is under way

  struct Loaded {
    PolicyVersion version;
    std::shared_ptr<const Model> model;
    std::shared_ptr<const Model> sampler;  // the same, but of an adversary
  };
  // One at a time; `client` outlives it.
  void Start(NodeClient& client, const FetchPolicy& wanted);
  // A fetch under way waits for nobody in the swarm any more.
  void Hurry() { hurry_ = true; }
  bool busy() const { return under_way_.valid(); }
  // Once, when it is done; waits up to timeout_ms.
  std::optional<Result<Loaded>> Take(int timeout_ms = 0);

  // REQUIRES !busy().
  const BlobFetcher::Totals& totals() const { return blobs_.totals(); }
  Swarm::Counts swarm_counts() const { return swarm_ ? swarm_->counts() : Swarm::Counts{}; }

 private:
  PolicyFetch(Shape shape, Places places, const Ops& ops, Clock& clock, int lock);
  Result<Loaded> Run(NodeClient& client, const FetchPolicy& wanted);
  Result<PolicyImage> Image(NodeClient& client, const FetchPolicy& wanted);
  Result<std::map<Digest256, PolicyManifest>> Look(NodeClient& client, const FetchPolicy& wanted);
  bool Holds(PolicyVersion version, const Digest256& root) const;
  Result<PolicyManifest> ManifestOf(NodeClient& client, const PolicyAnnouncement& announced);
  Status ForgetOtherHistory(const std::map<Digest256, PolicyManifest>& announced);
  Status Get(NodeClient& client, const Digest256& digest, const PolicyManifest& manifest);
  void HearOfSwarm(const FetchPolicy& wanted);
  Status FromSwarm(NodeClient& client, const Digest256& digest, const PolicyManifest& manifest);
  Status KeepShort(PolicyVersion version, const PolicyImage& image);

  const Shape shape_;
  const Places places_;
  const ImageForm form_;
  const Ops& ops_;
  const Descriptor lock_;  // of the folder
  ThreadPool pool_{1};     // the engine's is busy
  Clock& clock_;
  BlobFetcher blobs_;
  std::vector<std::string> sources_;     // of this fetch
  std::map<Digest256, Magnet> magnets_;  // of this fetch, by manifest
  std::atomic<bool> hurry_ = false;
  bool swarm_tried_ = false;
  std::unique_ptr<Swarm> swarm_;
  std::optional<SwarmChannel> swarm_channel_;
  std::optional<PolicyStore> store_;
  std::optional<PolicyImage> image_;  // of the newest version; the fetch's own
  std::future<Result<Loaded>> under_way_;
};

}  // namespace waggle
