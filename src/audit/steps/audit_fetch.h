// What a validator fetches to check things of the past, on a thread of its own, into a mirror that
// has the form of a run's folder: checkpoints/step-N/trainer, batches/ by their hashes, policies/.
// A piece is there, verified against the hash it was asked for by, or it is not: a validator that
// was killed goes on from the pieces that it had.
#pragma once

#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "audit/steps/state_listing.h"
#include "channel/blob_fetcher.h"
#include "policy/store.h"
#include "run/run_folder.h"

namespace waggle {

// Of old policies in the mirror; past it they are all dropped, and fetched again when needed.
inline constexpr std::uint64_t kMirrorPolicyBytes = std::uint64_t{8} << 30;

class AuditFetch {
 public:
  struct Settings {
    std::filesystem::path mirror;
    Hash256 run{};
    std::vector<std::string> mirrors;     // URLs that have the run's policies
    std::uint64_t state_bytes_max = 0;    // of one state
    std::uint64_t payload_bytes_max = 0;  // of one update of the policy
    std::uint64_t seed = 0;               // of the draw among mirrors
  };
  // What is wanted; nothing that is there is fetched again.
  struct Wanted {
    std::optional<PolicyVersion> state_version;  // with:
    Digest256 listing{};
    std::vector<Digest256> batches;
    std::vector<Digest256> manifests;  // of policies: what leads to one version, a snapshot first
  };

  AuditFetch(Settings settings, Clock& clock);
  ~AuditFetch();  // after what is under way

  // REQUIRES !busy(). `client` outlives the fetch. Blame::kPeer: what came is not what was signed.
  void Start(NodeClient& client, Wanted wanted);
  bool busy() const { return under_way_.valid(); }
  // Once, when it is done; waits up to timeout_ms.
  std::optional<Status> Take(int timeout_ms = 0);

  std::filesystem::path BatchFile(const Digest256& batch) const;
  // Drops what no longer matters: batches, what did not get whole, states but the one of `keep`.
  void Forget(PolicyVersion keep) const;

 private:
  Status Run(NodeClient& client, const Wanted& wanted);
  Status GetState(NodeClient& client, PolicyVersion version, const Digest256& digest);
  Status GetFile(NodeClient& client, const std::filesystem::path& path, const StateFile& file);
  Status GetBatch(NodeClient& client, const Digest256& batch);
  Status GetPolicies(NodeClient& client, const std::vector<Digest256>& manifests);

  const Settings settings_;
  const RunFolder folder_;
  ThreadPool pool_{1};
  BlobFetcher blobs_;  // policies, which mirrors have too
  BlobFetcher shown_;  // what the host alone has
  std::future<Status> under_way_;
};

}  // namespace waggle
