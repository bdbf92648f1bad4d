#include "audit/evidence_check.h"

#include <fmt/format.h>

#include <map>

#include "audit/examine.h"
#include "audit/receipt_check.h"
#include "run/step_check.h"
#include "run/train_thread.h"

namespace waggle {
namespace {

Decision Proved(std::string text) { return {Decision::Kind::kProved, std::move(text)}; }
Decision NotProved(std::string text) { return {Decision::Kind::kNotProved, std::move(text)}; }
Decision FaultOf(const Error& error) { return {Decision::Kind::kFault, error.what}; }

// One decision.
class Case {
 public:
  Case(const Evidence& evidence, PublicInputs& inputs, ThreadPool& pool)
      : e_(evidence), inputs_(inputs), pool_(pool) {}

  Decision Twice() const;
  Decision Group();
  Decision Step();
  Decision VerdictOn();
  Decision Canary();
  Decision Receipt();
  Decision Order();

 private:
  Decision PolicyAfter(const Trainer& trainer, const StepClaim& step);
  std::optional<Decision> OpenSite();
  std::optional<Decision> CheckPolicies() const;
  std::optional<Decision> CheckGroupSigned(const NodeId& worker) const;
  Result<CanaryReveal> RevealOf(const CanaryProof& proof) const;
  std::optional<Decision> NotTheWorkers(const Reject& reject) const;
  std::string Name() const { return ToText(e_.accused); }
  ExaminedRun Run() const {
    const ModelConfig& model = site_->description.model;
    return {e_.run, site_->description.recipe, *site_->codec, model.vocab,
            static_cast<std::uint32_t>(model.layers)};
  }
  Result<const Model*> PolicyOf(PolicyVersion version);
  Examination ExamineGroup(const GroupProbe* probe);

  const Evidence& e_;
  PublicInputs& inputs_;
  ThreadPool& pool_;
  std::unique_ptr<RunSite> site_;
  std::map<PolicyVersion, std::shared_ptr<const Model>> models_;
};

// The description is what the orchestrator signed, and says which run this is.
std::optional<Decision> Case::OpenSite() {
  Bytes bytes = e_.description;
  if (bytes.empty()) {
    auto fetched = inputs_.Description(e_.run, e_.description_hash);
    if (!fetched) return FaultOf(fetched.error());
    bytes = std::move(*fetched);
  }
  if (Sha256(bytes) != e_.description_hash)
    return NotProved("the run's description in it is not the one that it names");
  auto site = MakeRunSite(bytes, e_.run);
  if (!site) return NotProved(site.error().what);
  site_ = std::move(*site);
  return std::nullopt;
}

std::optional<Decision> Case::CheckPolicies() const {
  for (const Signed<PolicyClaim>& policy : e_.policies) {
    if (policy.claim.run != e_.run || policy.claim.description != e_.description_hash)
      return NotProved(fmt::format("the claim of policy version {} is about another run",
                                   policy.claim.version.value));
    if (!ClaimHolds(policy, e_.orchestrator))
      return NotProved(fmt::format("policy version {} is not signed by the orchestrator",
                                   policy.claim.version.value));
  }
  return std::nullopt;
}

std::optional<Decision> Case::CheckGroupSigned(const NodeId& worker) const {
  const GroupProof& proof = *e_.group;
  const BatchClaim& batch = proof.batch.claim;
  if (batch.run.value != e_.run || batch.worker != worker)
    return NotProved("the batch in it is another worker's, or of another run");
  if (!proof.batch.Holds()) return NotProved("the worker did not sign this batch");
  if (proof.path.leaves != batch.items ||
      !MerkleHolds(batch.root, BatchLeaf(GroupHash(proof.group)), proof.path))
    return NotProved("the group is not in the batch that was signed");
  if (proof.group.lease != proof.lease.id) return NotProved("the lease is of another group");
  return std::nullopt;
}

Result<const Model*> Case::PolicyOf(PolicyVersion version) {
  if (const auto known = models_.find(version); known != models_.end()) return known->second.get();
  for (const Signed<PolicyClaim>& policy : e_.policies) {
    if (policy.claim.version != version) continue;
    auto model = inputs_.Policy(*site_, e_.run, version, policy.claim.root);
    if (!model) return Forward(std::move(model.error()));
    return models_.emplace(version, std::move(*model)).first->second.get();
  }
  return Fail(Blame::kMachine, "the evidence names no weights for version {}", version.value);
}

Examination Case::ExamineGroup(const GroupProbe* probe) {
  return Examine(
      Run(), [this](PolicyVersion version) { return PolicyOf(version); }, pool_, e_.group->lease,
      e_.group->group, probe);
}

Decision Case::Twice() const {
  const BatchClaim &a = e_.twice->first.claim, &b = e_.twice->second.claim;
  if (e_.reason != RejectReason::kEquivocation) return NotProved("accuses of something else");
  if (a.run.value != e_.run || b.run.value != e_.run || a.worker != e_.accused ||
      b.worker != e_.accused || a.epoch != b.epoch ||
      e_.twice->first.ledger != e_.twice->second.ledger)
    return NotProved("the two batches are not of one worker and one epoch of this run");
  if (a == b) return NotProved("the two batches are the same");
  if (!e_.twice->first.Holds() || !e_.twice->second.Holds())
    return NotProved("the accused did not sign both");
  return Proved(fmt::format("{} signed two batches for epoch {}: {} groups and {} groups", Name(),
                            a.epoch, a.items, b.items));
}

// What is found, and proves nothing against whoever signed the batch.
std::optional<Decision> Case::NotTheWorkers(const Reject& reject) const {
  if (reject.reason == RejectReason::kFingerprint)
    return NotProved("the group is unlikely, and a test with a tolerance proves nothing: " +
                     reject.detail);
  if (reject.reason == RejectReason::kWrongLease)
    return NotProved("the lease in it is none that the run derives: " + reject.detail);
  // Which task a place of a pool has is the orchestrator's word.
  if (reject.reason == RejectReason::kWrongTask && Run().recipe.orchestrator.difficulty.tasks > 0 &&
      !e_.group->lease.evaluation)
    return NotProved(
        "where tasks come from a pool, only the orchestrator says which one was meant");
  return std::nullopt;
}

Decision Case::Group() {
  if (auto no = CheckPolicies()) return *no;
  if (auto no = CheckGroupSigned(e_.accused)) return *no;
  if (auto no = OpenSite()) return *no;
  const Examination found = ExamineGroup(nullptr);
  if (const auto* fault = std::get_if<Fault>(&found.verdict))
    return {Decision::Kind::kFault, fault->what};
  const auto* reject = std::get_if<Reject>(&found.verdict);
  if (reject == nullptr) return NotProved(fmt::format("the group holds: {} is honest", Name()));
  if (auto no = NotTheWorkers(*reject)) return *no;
  if (reject->reason != e_.reason || found.rollout != e_.rollout || found.token != e_.token)
    return NotProved(
        fmt::format("the first fault of the group is another one: {} at rollout {}, "
                    "token {}: {}",
                    ToString(reject->reason), found.rollout, found.token, reject->detail));
  return Proved(
      fmt::format("{} signed a group of lease {} that does not hold: {} at rollout {}, "
                  "token {}: {}",
                  Name(), LeaseName(e_.group->lease.id), ToString(reject->reason), found.rollout,
                  found.token, reject->detail));
}

// The one whose verdict does not follow lied, whatever the group is.
Decision Case::VerdictOn() {
  const AuditClaim& said = e_.verdict->claim;
  const GroupProof& proof = *e_.group;
  if (said.run != e_.run || !ClaimHolds(*e_.verdict, e_.accused))
    return NotProved("the accused did not sign this verdict");
  if (said.group != GroupHash(proof.group) || said.batch != proof.batch.claim.root ||
      said.epoch != proof.batch.claim.epoch || said.index != proof.path.index)
    return NotProved("the verdict is about another group");
  if (auto no = CheckPolicies()) return *no;
  if (auto no = CheckGroupSigned(proof.batch.claim.worker)) return *no;
  if (auto no = OpenSite()) return *no;
  const GroupProbe probe = ProbeOf(said.beacon, said.group, proof.group, Run().layers);
  const Examination found = ExamineGroup(&probe);
  if (const auto* fault = std::get_if<Fault>(&found.verdict))
    return {Decision::Kind::kFault, fault->what};
  const auto* reject = std::get_if<Reject>(&found.verdict);
  const bool same = said.accepted ? reject == nullptr
                                  : reject != nullptr && said.reason == reject->reason &&
                                        said.rollout == found.rollout && said.token == found.token;
  if (same && said.activation == found.activation)
    return NotProved(fmt::format("the verdict is right: {} is honest", Name()));
  const bool blames = !said.accepted && reject == nullptr;
  if (e_.reason != (blames ? RejectReason::kFalseAccusation : RejectReason::kLazyVerdict))
    return NotProved("accuses of something else than what the verdict shows");
  if (blames)
    return Proved(fmt::format("{} accused a group of lease {} that holds", Name(),
                              LeaseName(proof.lease.id)));
  return Proved(fmt::format("{} gave a verdict on lease {} without examining it: {}", Name(),
                            LeaseName(proof.lease.id),
                            same ? "the activations are not those of the model"
                                 : "the examination finds something else"));
}

// As the orchestrator sent it to the ledger that the batch was signed for.
Result<CanaryReveal> Case::RevealOf(const CanaryProof& proof) const {
  const auto request = DecodeRequest(proof.reveal);
  if (!request) return Fail(Blame::kPeer, "{}", request.error().what);
  const auto* reveal = std::get_if<CanaryReveal>(&request->body);
  const BatchClaim& batch = e_.group->batch.claim;
  if (reveal == nullptr || reveal->run != batch.run || reveal->epoch != batch.epoch ||
      reveal->worker != batch.worker)
    return Fail(Blame::kPeer, "what was shown as a canary is another batch");
  if (request->author != e_.accused || e_.accused != e_.orchestrator ||
      !Verify(e_.accused, kRequestDomain, RequestMessage(e_.group->batch.ledger, *request),
              request->signature))
    return Fail(Blame::kPeer, "the accused did not show this batch as a canary");
  return *reveal;
}

// No item of a canary that is called bad holds, and every item of one that is called good does
// (docs/ledger.md).
Decision Case::Canary() {
  if (e_.reason != RejectReason::kFalseCanary) return NotProved("accuses of something else");
  const auto reveal = RevealOf(*e_.canary);
  if (!reveal) return NotProved(reveal.error().what);
  if (auto no = CheckPolicies()) return *no;
  if (auto no = CheckGroupSigned(e_.group->batch.claim.worker)) return *no;
  if (auto no = OpenSite()) return *no;
  if (e_.policies.empty())
    return NotProved("no policy in it says that the orchestrator signed this description");
  if (Run().recipe.trust.fingerprinted())
    return NotProved("a test with a tolerance proves nothing about a canary");
  const Examination found = ExamineGroup(nullptr);
  if (const auto* fault = std::get_if<Fault>(&found.verdict))
    return {Decision::Kind::kFault, fault->what};
  const auto* reject = std::get_if<Reject>(&found.verdict);
  if (reveal->bad == (reject != nullptr))
    return NotProved(fmt::format("the canary is what it was called: {} is honest", Name()));
  if (reject != nullptr) {
    if (auto no = NotTheWorkers(*reject)) return *no;
  }
  if (found.rollout != e_.rollout || found.token != e_.token)
    return NotProved("the first fault of the group is at another place");
  return Proved(fmt::format("{} called the canary of epoch {} {}, and its group of lease {} {}",
                            Name(), reveal->epoch, reveal->bad ? "bad" : "good",
                            LeaseName(e_.group->lease.id),
                            reject == nullptr ? "holds" : "does not hold: " + reject->detail));
}

// The recipe says which windows matter, so that it is the orchestrator's must be signed.
Decision Case::Receipt() {
  if (e_.reason != RejectReason::kDroppedGroup) return NotProved("accuses of something else");
  if (e_.accused != e_.orchestrator)
    return NotProved("receipts and windows are the orchestrator's");
  if (e_.policies.empty())
    return NotProved("no policy in it says that the orchestrator signed this description");
  if (auto no = CheckPolicies()) return *no;
  if (auto no = OpenSite()) return *no;
  const Recipe& recipe = site_->description.recipe;
  if (auto why = WhyNotDropped(*e_.receipt, recipe, e_.run, e_.accused)) return NotProved(*why);
  const auto receipt = OpenReceipt(e_.receipt->receipt, e_.run, e_.accused);
  return Proved(fmt::format(
      "{} accepted the group of lease {}, and signed windows {} to {} without "
      "it",
      Name(), LeaseName(receipt->lease), e_.receipt->windows.front().window.claim.version.value,
      e_.receipt->windows.back().window.claim.version.value));
}

// Decided without weights: the windows say which groups a batch by arrival is.
Decision Case::Order() {
  if (e_.reason != RejectReason::kWrongStep) return NotProved("accuses of something else");
  if (e_.accused != e_.orchestrator) return NotProved("steps and windows are the orchestrator's");
  if (e_.policies.empty())
    return NotProved("no policy in it says that the orchestrator signed this description");
  if (auto no = CheckPolicies()) return *no;
  if (auto no = OpenSite()) return *no;
  const ArrivalTerms terms = ArrivalTermsOf(site_->description.recipe.orchestrator);
  if (!terms.by_arrival()) return NotProved("the run's batches do not form by arrival");
  const OrderShown shown = ShowOrder(*e_.order, terms, e_.run, e_.accused);
  if (shown.kind == OrderShown::Kind::kNothing) return NotProved(shown.why);
  if (shown.kind == OrderShown::Kind::kHolds)
    return NotProved("the batch is the groups that were accepted first");
  return Proved(fmt::format("{} signed a step from version {} on a batch of its own choice: {}",
                            Name(), e_.order->step.claim.version.value, shown.why));
}

// A trainer that is the orchestrator too, and gives out other weights than its step leads to.
Decision Case::PolicyAfter(const Trainer& trainer, const StepClaim& step) {
  for (const Signed<PolicyClaim>& policy : e_.policies) {
    if (policy.claim.version.value != step.version.value + 1 || e_.orchestrator != e_.accused)
      continue;
    const PolicyImage image = ImageOfTrainer(trainer, site_->numerics.weights, pool_, nullptr);
    if (policy.claim.root == image.root()) break;
    return Proved(fmt::format("{} published other weights as version {} than its step leads to",
                              Name(), policy.claim.version.value));
  }
  return NotProved(fmt::format("the step holds: {} is honest", Name()));
}

Decision Case::Step() {
  const StepClaim& step = e_.step->step.claim;
  if (e_.reason != RejectReason::kWrongStep) return NotProved("accuses of something else");
  if (step.run != e_.run || !ClaimHolds(e_.step->step, e_.accused))
    return NotProved("the accused did not sign this step");
  if (Sha256(e_.step->records) != step.batch)
    return NotProved("the batch in it is not the one that was signed");
  if (auto no = CheckPolicies()) return *no;
  if (auto no = OpenSite()) return *no;
  const auto records = DecodeRecords(e_.step->records);
  if (!records)
    return Proved(
        fmt::format("{} signed a step on a batch that is none: {}", Name(), records.error().what));
  if (step.leases && *step.leases != LeasesHash(LeasesOf(*records)))
    return Proved(fmt::format("{} signed a step over other leases than its batch has", Name()));
  auto trainer = inputs_.State(*site_, e_.run, step.version, step.before);
  if (!trainer) return FaultOf(trainer.error());
  const ExaminedRun run = Run();
  const auto after = StepAgain(**trainer, run.recipe, *records, step.version, run.codec, run.vocab);
  if (!after) {
    if (after.error().blame != Blame::kPeer) return FaultOf(after.error());
    return Proved(
        fmt::format("{} signed a step on groups that are none: {}", Name(), after.error().what));
  }
  if (*after == step.after) {
    if (const auto why = WhyNotItsBatch(run.recipe, *records, step.version))
      return Proved(fmt::format("{} signed a step from version {} on a batch of its own choice: {}",
                                Name(), step.version.value, *why));
    return PolicyAfter(**trainer, step);
  }
  return Proved(
      fmt::format("{} signed that the step from version {} leads to another state than "
                  "its batch gives",
                  Name(), step.version.value));
}

}  // namespace

const char* ToString(Decision::Kind kind) {
  switch (kind) {
    case Decision::Kind::kProved:
      return "proved";
    case Decision::Kind::kNotProved:
      return "not proved";
    case Decision::Kind::kFault:
      return "fault";
  }
  return "?";
}

Decision Decide(const Evidence& evidence, PublicInputs& inputs, ThreadPool& pool,
                const std::optional<NodeId>& expected) {
  if (expected && evidence.orchestrator != *expected)
    return NotProved(fmt::format("its policies are signed by {}, not by {}",
                                 ToText(evidence.orchestrator), ToText(*expected)));
  Case it(evidence, inputs, pool);
  if (evidence.canary && evidence.group) return it.Canary();
  if (evidence.verdict && evidence.group) return it.VerdictOn();
  if (evidence.group) return it.Group();
  if (evidence.receipt) return it.Receipt();
  if (evidence.order) return it.Order();
  if (evidence.twice) return it.Twice();
  if (evidence.step) return it.Step();
  return NotProved("it holds nothing that anybody signed");
}

}  // namespace waggle
