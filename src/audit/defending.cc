#include "audit/defending.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "audit/evidence_file.h"
#include "proofs/claims.h"

namespace waggle {
namespace {

constexpr std::size_t kModelsKept = 2;
constexpr std::size_t kCheckedMax = 32;  // groups, by a node that was sent away
using Kind = OwnExamined::Kind;

}  // namespace

Result<std::unique_ptr<Defending>> Defending::Open(const Places& places, const Signer& key,
                                                   const Hash256& run, const RunSite& site,
                                                   const Bytes& description, const Ops& ops,
                                                   ThreadPool& pool, Clock& clock,
                                                   std::function<void(const std::string&)> say) {
  WG_ASSIGN(OwnWork own, OwnWork::Open(places.own, places.own_bytes_max));
  return std::unique_ptr<Defending>(new Defending(places, key, run, site, description, ops, pool,
                                                  clock, std::move(say), std::move(own)));
}

Defending::Defending(const Places& places, const Signer& key, const Hash256& run,
                     const RunSite& site, const Bytes& description, const Ops& ops,
                     ThreadPool& pool, Clock& clock, std::function<void(const std::string&)> say,
                     OwnWork own)
    : run_(run),
      site_(site),
      pool_(pool),
      clock_(clock),
      say_(std::move(say)),
      own_(std::move(own)),
      inputs_({places.policies}, ops, pool),
      evidence_(places.evidence),
      core_(key, run, Sha256(description)),
      receipts_(key, run, site.description.recipe, description) {}

Result<std::vector<NodeMessage>> Defending::Step(const DefenceEvent& event) {
  std::vector<NodeMessage> out;
  if (const auto* link = std::get_if<HostAnswered>(&event)) {
    WG_TRY(Watch(*link, out));
    if (!std::exchange(receipts_read_, true)) {
      for (auto& [lease, bytes] : own_.Receipts())
        WG_TRY(Watch(ReceiptHeard{lease, std::move(bytes)}, out));
    }
  }
  if (const auto* said = std::get_if<HostSaid>(&event)) WG_TRY(Watch(*said, out));
  for (DefenceEffect& effect : core_.Step(event)) {
    if (auto* say = std::get_if<SayToHost>(&effect)) {
      out.push_back(std::move(say->message));
    } else if (const auto* noticed = std::get_if<Noticed>(&effect)) {
      say_(noticed->text);
    } else if (auto* examine = std::get_if<ExamineOwn>(&effect)) {
      jobs_.push_back({std::move(*examine)});
    } else if (const auto* fault = std::get_if<MachineFault>(&effect)) {
      return Fail(Blame::kMachine, "{}", fault->why);
    } else {
      return Fail(Blame::kPeer, "the host: {}", std::get<HostLied>(effect).why);
    }
  }
  return out;
}

Status Defending::Watch(const ReceiptEvent& event, std::vector<NodeMessage>& out) {
  std::filesystem::path file;
  for (ReceiptEffect& effect : receipts_.Step(event)) {
    if (auto* say = std::get_if<SayToHost>(&effect)) {
      out.push_back(std::move(say->message));
    } else if (const auto* done = std::get_if<ReceiptDone>(&effect)) {
      own_.DropReceipt(done->lease);
    } else if (const auto* keep = std::get_if<KeepEvidence>(&effect)) {
      WG_ASSIGN(file, KeepEvidenceFile(evidence_, keep->evidence));
    } else {
      return Fail(Blame::kPeer, "the host lied: {}; evidence in {}", std::get<HostLied>(effect).why,
                  file.string());
    }
  }
  return {};
}

// One that can prove nothing is not kept.
Status Defending::Keep(const KeepReceipt& receipt) {
  if (!receipts_.Wants(receipt.bytes)) return {};
  WG_TRY(own_.KeepReceipt(receipt.lease, receipt.bytes));
  std::vector<NodeMessage> nothing;
  return Watch(ReceiptHeard{receipt.lease, receipt.bytes}, nothing);
}

Result<std::vector<NodeMessage>> Defending::Tick(PolicyVersion newest) {
  std::vector<NodeMessage> out;
  const auto now_ms = static_cast<std::uint64_t>(clock_.MonotonicNs() / 1'000'000);
  WG_TRY(Watch(WatchTick{now_ms, newest}, out));
  WG_ASSIGN(std::vector<NodeMessage> said,
            Step(DefenceTick{static_cast<std::uint64_t>(clock_.UnixSeconds() * 1000.0)}));
  std::ranges::move(said, std::back_inserter(out));
  return out;
}

Result<std::vector<NodeMessage>> Defending::Work() {
  if (jobs_.empty()) return std::vector<NodeMessage>();
  bool done = false;
  OwnExamined found = LookAt(jobs_.front(), done);
  if (!done) return std::vector<NodeMessage>();
  jobs_.pop_front();
  return Step(std::move(found));
}

// The next group of a job. One that is missing leaves the rest to be looked at: a later one may
// fail.
OwnExamined Defending::LookAt(Job& job, bool& done) {
  OwnExamined found{.epoch = job.ask.epoch, .kind = Kind::kHolds, .text = {}};
  const auto end = [&](Kind kind, std::string text) {
    done = true;
    found.kind = kind;
    found.text = std::move(text);
    return found;
  };
  if (!job.batch) {
    auto batch = own_.BatchOf(job.ask.epoch);
    if (!batch) return end(Kind::kUnknown, batch.error().what);
    job.batch = std::move(*batch);
  }
  if (job.next == job.ask.items.size()) return end(Kind::kHolds, {});
  const std::uint32_t item = job.ask.items[job.next++];
  if (item >= job.batch->leases.size())
    return end(Kind::kUnknown, fmt::format("the batch that was signed has no item {}", item));
  const LeaseId lease = job.batch->leases[item];
  const auto record = own_.GroupOf(lease);
  if (!record) return end(Kind::kUnknown, record.error().what);
  if (GroupHash(record->group) != job.batch->groups[item])
    return end(Kind::kFails, fmt::format("the group of lease {} is not what was handed in: it "
                                         "changed on this machine",
                                         LeaseName(lease)));
  const Examination examination = Look(*record);
  if (const auto* fault = std::get_if<Fault>(&examination.verdict))
    return end(Kind::kUnknown, fault->what);
  const auto* reject = std::get_if<Reject>(&examination.verdict);
  if (reject == nullptr) return found;
  const std::string text =
      fmt::format("lease {}, rollout {}, token {}: {}: {}", LeaseName(lease), examination.rollout,
                  examination.token, ToString(reject->reason), reject->detail);
  // A test with a tolerance says nothing about this machine.
  return end(reject->reason == RejectReason::kFingerprint ? Kind::kUnknown : Kind::kFails, text);
}

Examination Defending::Look(const GroupRecord& record) {
  const ModelConfig& model = site_.description.model;
  const ExaminedRun examined{run_, site_.description.recipe, *site_.codec, model.vocab,
                             static_cast<std::uint32_t>(model.layers)};
  return Examine(
      examined, [this](PolicyVersion version) { return ModelOf(version); }, pool_, record.lease,
      record.group);
}

// As the host signed it, or else as it was announced.
Result<const Model*> Defending::ModelOf(PolicyVersion version) {
  if (const auto known = models_.find(version); known != models_.end()) return known->second.get();
  std::optional<Hash256> root = inputs_.RootOf(run_, version);
  if (const Hash256* said = core_.RootOf(version)) root = *said;
  if (!root) return Fail(Blame::kMachine, "policy version {} is not here any more", version.value);
  WG_ASSIGN(auto model, inputs_.Policy(site_, run_, version, *root));
  if (models_.size() >= kModelsKept) models_.erase(models_.begin());
  return models_.emplace(version, std::move(model)).first->second.get();
}

Result<std::string> Defending::CheckOwn() {
  std::size_t held = 0;
  for (const LeaseId lease : own_.Newest(kCheckedMax)) {
    const auto record = own_.GroupOf(lease);
    if (!record) continue;
    const Examination examination = Look(*record);
    const auto* reject = std::get_if<Reject>(&examination.verdict);
    held += std::holds_alternative<Accepted>(examination.verdict) ? 1 : 0;
    if (reject == nullptr || reject->reason == RejectReason::kFingerprint) continue;
    return Fail(Blame::kMachine,
                "our own group of lease {} does not hold here either: {} at rollout {}, token {}: "
                "{}. This machine (its memory, its disk, or this build) cannot be relied on",
                LeaseName(lease), ToString(reject->reason), examination.rollout, examination.token,
                reject->detail);
  }
  return fmt::format("our newest {} groups hold when they are examined again here", held);
}

}  // namespace waggle
