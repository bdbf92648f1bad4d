// A volunteer's driver: performs the effects of JoinCore on a NodeClient and an Engine. Fetches the
// run's description, then policies, verifies each against the hash that was announced, and samples.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/defending.h"
#include "audit/validating.h"
#include "base/clock.h"
#include "channel/blob_fetcher.h"
#include "crypto/identity.h"
#include "join/policy_fetch.h"
#include "kernels/ops.h"
#include "protocol/invite.h"
#include "roles/join_core.h"
#include "torrent/swarm.h"

namespace waggle {

struct JoinOptions {
  Invite invite;
  unsigned threads = 1;      // never changes a bit
  const Ops* ops = nullptr;  // never changes a bit
  std::size_t kv_bytes = std::size_t{256} << 20;
  std::uint32_t rollouts_max = 64;         // held at once; at least one group of the run
  std::int64_t patience_ms = 10 * 60'000;  // without a link; then it gives up
  std::filesystem::path cache_directory;   // policies between two starts, and logs
  std::vector<std::string> mirrors;        // URLs where policies are, beside what the host says
  // In the run's swarm, if it has one; nothing: policies come from the host and mirrors alone.
  std::optional<SwarmOptions> swarm = std::nullopt;
  // Samples in place of `ops`, in a run of a fingerprint tier only: it need not be canonical
  // (kernels/fast). Null: `ops`.
  const Ops* engine = nullptr;
  // JoinSettings::tamper.
  std::function<void(const Lease&, Group&)> tamper = nullptr;
  // What an adversary samples under; `draft`: and its log-probs and fingerprints are of one prefill
  // with the true weights afterwards. Null: an honest node.
  FalsifyWeights falsify = nullptr;
  bool draft = false;
  // It does not know that it tampers: a machine that computes wrongly, and defends its work.
  bool unaware = false;
  // Checks others instead of sampling (audit/validating.h).
  std::optional<ValidateOptions> validate = std::nullopt;
  std::string software;
  std::function<void(const std::string&)> say;  // progress lines, from any thread
  std::function<bool()> wants_to_leave;         // asked often; true: drain and leave
};

struct JoinSummary {
  JoinCore::Counts counts;
  BlobFetcher::Totals policies;  // what they cost to fetch
  Swarm::Counts swarm;
  ValidatorCore::Counts validated;
  StepAuditor::Counts steps;  // of validators, as what follows
  Validating::Costs costs;
  DefenceCore::Counts defended;  // of workers
  ReceiptWatch::Counts receipts;
  Credits earned;   // as the ledger that we follow says; of validators
  std::string why;  // it left
  double seconds = 0;
};

// Returns when the run is over, the volunteer wants to leave and is done, or patience has run out
// (Blame::kMachine). A host that sends what it must not is Blame::kPeer.
Result<JoinSummary> JoinAndSample(const JoinOptions& options, const KeyPair& key, Clock& clock);

}  // namespace waggle
