#include "audit/steps/step_auditing.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "audit/evidence_file.h"
#include "audit/public_inputs.h"
#include "base/files.h"
#include "base/folders.h"
#include "base/hex.h"
#include "policy/model_image.h"
#include "run/trainer_at.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTakenBytesMax = std::size_t{64} << 20;
constexpr Milliseconds kPolicyAnswerMs = 60'000;
constexpr int kPolicyTries = 3;
// Copies of the weights that a state may hold: masters, two moments, a reference, a critic with
// moments as large, and room.
constexpr std::uint64_t kStateCopies = 12;

// Its model directory: the weights, and a tokenizer beside them.
std::uint64_t TeacherBytesMax(const RunSite& site) {
  const auto& teacher = site.description.teacher;
  return teacher ? WeightBytesMax(teacher->model, WeightFormat::kF32) + kDescriptionBytesMax : 0;
}

AuditFetch::Settings FetchSettings(const StepAuditing::Places& places, const Hash256& run,
                                   const RunSite& site) {
  return {.mirror = places.mirror,
          .run = run,
          .mirrors = places.mirrors,
          .state_bytes_max =
              kStateCopies * WeightBytesMax(site, WeightFormat::kF32) + TeacherBytesMax(site),
          .payload_bytes_max = WeightBytesMax(site, site.numerics.weights),
          .seed = places.seed};
}

fs::path TakenFile(const fs::path& mirror) { return mirror / "taken"; }

std::set<PolicyVersion> ReadTaken(const fs::path& mirror) {
  std::set<PolicyVersion> taken;
  const auto text = ReadFile(TakenFile(mirror), kTakenBytesMax);
  if (!text) return taken;  // a first start; or it is all taken again
  std::istringstream lines(*text);
  for (std::uint64_t version = 0; lines >> version;) taken.insert(PolicyVersion{version});
  return taken;
}

std::uint64_t SampledTokens(const std::vector<GroupRecord>& records) {
  std::uint64_t tokens = 0;
  for (const GroupRecord& record : records) {
    for (const Rollout& rollout : record.group.rollouts)
      tokens += static_cast<std::uint64_t>(std::ranges::count(rollout.loss_mask, 1));
  }
  return tokens;
}

}  // namespace

StepAuditing::StepAuditing(Places places, const Signer& key, const Hash256& run,
                           const RunSite& site, Bytes description, PolicyOf policies,
                           const Ops& ops, ThreadPool& pool, Clock& clock,
                           std::function<void(const std::string&)> say)
    : places_(std::move(places)),
      key_(key),
      run_(run),
      site_(site),
      description_(std::move(description)),
      policies_(std::move(policies)),
      ops_(ops),
      pool_(pool),
      clock_(clock),
      say_(std::move(say)),
      core_(StepTermsOf(site.description.recipe, run), ReadTaken(places_.mirror),
            ArrivalTermsOf(site.description.recipe.orchestrator)),
      fetch_(FetchSettings(places_, run, site), clock) {}

Result<std::vector<NodeMessage>> StepAuditing::Step(const StepAuditEvent& event) {
  if (const auto* link = std::get_if<StepLinkUp>(&event)) {
    host_ = link->host;
    for (auto& [version, wanted] : wanted_) wanted.asked = false;
    shown_.clear();
  }
  if (const auto* heard = std::get_if<StepHeard>(&event)) {
    if (const auto* shown = std::get_if<PolicyShown>(&heard->message)) WG_TRY(Heard(*shown));
  }
  WG_TRY(Handle(event));
  return std::exchange(out_, {});
}

Status StepAuditing::Handle(const StepAuditEvent& event) {
  for (StepAuditEffect& effect : core_.Step(Now(), event)) WG_TRY(Perform(std::move(effect)));
  return {};
}

Status StepAuditing::Perform(StepAuditEffect effect) {
  if (auto* say = std::get_if<StepSay>(&effect)) {
    out_.push_back(std::move(say->message));
  } else if (auto* fetch = std::get_if<FetchSteps>(&effect)) {
    to_fetch_ = std::move(*fetch);
  } else if (const auto* notice = std::get_if<StepNotice>(&effect)) {
    say_(notice->text);
  } else if (auto* lie = std::get_if<StepLie>(&effect)) {
    return Lied(std::move(*lie));
  } else if (const auto* audited = std::get_if<StepAudited>(&effect)) {
    fetch_.Forget(last_begin_);
    if (audited->finding != StepFinding::kHolds) return {};
    std::set<PolicyVersion> taken = ReadTaken(places_.mirror);
    taken.insert(audited->version);
    std::string text;
    for (const PolicyVersion version : taken) text += fmt::format("{}\n", version.value);
    WG_TRY(MakeFolder(places_.mirror));
    return WriteFileAtomic(TakenFile(places_.mirror), text);
  }
  return {};
}

Result<std::vector<NodeMessage>> StepAuditing::Work(NodeClient* client) {
  if (auto fetched = fetch_.Take()) WG_TRY(Fetched(*fetched));
  if (client != nullptr && !fetch_.busy()) WG_TRY(FetchNext(client));
  if (host_) AskPolicies();
  if (taking_) WG_TRY(TakeOne());
  WG_TRY(Handle(StepTick{}));
  return std::exchange(out_, {});
}

void StepAuditing::Release() {
  if (!fetch_.busy()) return;
  const auto fetched = fetch_.Take(1'000'000'000);
  if (!fetched) return;
  const Status handled = Fetched(*fetched);
  if (!handled) say_(handled.error().what);
}

// --- Fetching ------------------------------------------------------------------------------------

// Policies first: verdicts wait for them.
Status StepAuditing::FetchNext(NodeClient* client) {
  if (!shown_.empty()) {
    fetching_policy_ = shown_.front().version;
    fetch_.Start(*client, {.manifests = std::move(shown_.front().manifests)});
    shown_.pop_front();
  } else if (to_fetch_ && !taking_) {
    WG_TRY(MakeFolder(places_.mirror));
    const std::string_view text(reinterpret_cast<const char*>(description_.data()),
                                description_.size());
    WG_TRY(WriteFileAtomic(places_.mirror / "description.bin", text));
    AuditFetch::Wanted wanted{.state_version = to_fetch_->begin, .listing = to_fetch_->state};
    for (const SignedStep& step : to_fetch_->steps) {
      if (!step.leases.empty()) wanted.batches.push_back(step.step.claim.batch);
    }
    fetching_steps_ = true;
    last_begin_ = to_fetch_->begin;
    fetch_.Start(*client, std::move(wanted));
  }
  return {};
}

Status StepAuditing::Fetched(const Status& fetched) {
  if (fetching_policy_) {
    const PolicyVersion version = *std::exchange(fetching_policy_, std::nullopt);
    const auto wanted = wanted_.find(version);
    if (wanted == wanted_.end()) return {};
    if (fetched || ++wanted->second.tries >= kPolicyTries) {
      wanted_.erase(wanted);
      if (!fetched) say_(fmt::format("policy version {}: {}", version.value, fetched.error().what));
    } else {
      wanted->second.asked = false;
    }
    return {};
  }
  if (!std::exchange(fetching_steps_, false)) return {};
  FetchSteps plan = std::move(*std::exchange(to_fetch_, std::nullopt));
  const PolicyVersion version = plan.steps.back().step.claim.version;
  WG_TRY(Handle(StepFetched{version, fetched ? "" : fetched.error().what}));
  if (!fetched) return {};
  auto begun = Begin(plan);
  taking_.emplace(Taking{std::move(plan), 0, nullptr});
  if (!begun)
    return Finish(StepFinding::kWithheld, "the state that it showed: " + begun.error().what);
  taking_->steps = std::move(*begun);
  return {};
}

Status StepAuditing::Heard(const PolicyShown& shown) {
  const auto wanted = wanted_.find(shown.version);
  if (wanted == wanted_.end()) return {};
  if (!shown.manifests.empty()) {
    shown_.push_back(shown);
    return {};
  }
  say_(fmt::format("withheld: the host does not have policy version {} any more",
                   shown.version.value));
  wanted_.erase(wanted);
  return {};
}

void StepAuditing::WantPolicy(PolicyVersion version) { wanted_.try_emplace(version); }

void StepAuditing::AskPolicies() {
  for (auto at = wanted_.begin(); at != wanted_.end();) {
    auto& [version, wanted] = *at;
    const bool late = wanted.asked && Now() > wanted.asked_ms + kPolicyAnswerMs;
    if (late && fetching_policy_ != version && ++wanted.tries >= kPolicyTries) {
      say_(fmt::format("withheld: no answer about policy version {}", version.value));
      at = wanted_.erase(at);
      continue;
    }
    if (!wanted.asked || (late && fetching_policy_ != version)) {
      wanted.asked = true;
      wanted.asked_ms = Now();
      out_.emplace_back(PolicyAsk{version});
    }
    ++at;
  }
}

// --- Taking --------------------------------------------------------------------------------------

Result<std::vector<GroupRecord>> StepAuditing::RecordsOf(const SignedStep& step) const {
  if (step.leases.empty()) return std::vector<GroupRecord>();
  WG_ASSIGN(const std::string text,
            ReadFile(fetch_.BatchFile(step.step.claim.batch), kWire.message_bytes_max));
  return DecodeRecords({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Result<std::unique_ptr<StepTaking>> StepAuditing::Begin(const FetchSteps& plan) {
  WG_ASSIGN(auto trainer,
            TrainerAt(site_, run_, RunFolder(places_.mirror), plan.begin, ops_, pool_));
  if (trainer->StateHash() != plan.steps.front().step.claim.before)
    return Fail(Blame::kPeer, "it is not the one that the step from version {} was signed with",
                plan.begin.value);
  return std::make_unique<StepTaking>(site_, run_, *host_, std::move(trainer),
                                      [this](const SignedStep& step) { return RecordsOf(step); });
}

Status StepAuditing::TakeOne() {
  const SignedStep& step = taking_->plan.steps[taking_->next];
  auto taken = taking_->steps->Take(step);
  if (taken) return Judge(step, std::move(*taken));
  if (taken.error().blame != Blame::kPeer) return Finish(StepFinding::kFault, taken.error().what);
  WG_ASSIGN(const std::string text,  // it is what was signed, and no batch
            ReadFile(fetch_.BatchFile(step.step.claim.batch), kWire.message_bytes_max));
  return Wrong(step, Bytes(text.begin(), text.end()), nullptr, taken.error().what);
}

Status StepAuditing::Judge(const SignedStep& step, StepRetaken taken) {
  using Kind = StepRetaken::Kind;
  const PolicyVersion version = step.step.claim.version;
  if (taken.kind == Kind::kStep)
    return Wrong(step, EncodeRecords(taken.records), nullptr, taken.why);
  if (taken.kind != Kind::kHolds) return Finish(StepFinding::kWithheld, taken.why);
  tokens_ += SampledTokens(taken.records);
  for (const GroupRecord& record : taken.records)
    WG_TRY(Handle(GroupTrained{version, record.lease.id, GroupHash(record.group)}));
  const Signed<PolicyClaim>* policy = policies_(PolicyVersion{version.value + 1});
  if (policy != nullptr && policy->claim.root != taking_->steps->PolicyRoot(pool_)) {
    return Wrong(step, EncodeRecords(taken.records), policy,
                 "the policy that it published is not what the step leads to");
  }
  if (++taking_->next < taking_->plan.steps.size()) return {};
  return Finish(StepFinding::kHolds, "");
}

Status StepAuditing::Finish(StepFinding finding, const std::string& text) {
  const FetchSteps plan = std::move(std::exchange(taking_, std::nullopt)->plan);
  return Handle(StepTaken{plan.steps.back().step.claim.version, finding, text});
}

// Whoever decides the evidence needs the state that the step began from.
Status StepAuditing::KeepStateBefore(const SignedStep& step) {
  const FetchSteps& plan = taking_->plan;
  const PolicyVersion version = step.step.claim.version;
  if (version == plan.begin) return {};
  WG_ASSIGN(const auto again, Begin(plan));
  for (const SignedStep& before : plan.steps) {
    if (before.step.claim.version == version) break;
    WG_ASSIGN(const StepRetaken taken, again->Take(before));
    if (taken.kind != StepRetaken::Kind::kHolds)
      return Fail(Blame::kMachine, "a step that held a moment ago does not: {}", taken.why);
  }
  const RunFolder mirror(places_.mirror);
  WG_ASSIGN(const fs::path staged, mirror.StageCheckpoint(version.value));
  WG_TRY(again->trainer().SaveCheckpoint(staged / "trainer"));
  WG_TRY(WriteFileAtomic(staged / "run_id", ToHex(run_)));
  return mirror.CommitCheckpoint(version.value);
}

Evidence StepAuditing::WrongStep(const std::string& why) const {
  Evidence evidence{.run = run_,
                    .description_hash = Sha256(description_),
                    .orchestrator = *host_,
                    .accused = *host_,
                    .reason = RejectReason::kWrongStep,
                    .text = why};
  if (description_.size() <= kEvidenceDescriptionMax) evidence.description = description_;
  return evidence;
}

Result<fs::path> StepAuditing::KeepEvidence(Evidence evidence) const {
  return KeepEvidenceFile(places_.evidence, SealEvidence(std::move(evidence), key_));
}

// Any policy that it signed says under which description it did.
Status StepAuditing::Lied(StepLie lie) {
  const Signed<PolicyClaim>* policy = nullptr;
  if (lie.proof) {
    for (std::uint64_t at = lie.proof->step.claim.version.value + 2; policy == nullptr && at-- > 0;)
      policy = policies_(PolicyVersion{at});
  }
  if (policy == nullptr) return Fail(Blame::kPeer, "the host lied: {}", lie.why);
  Evidence evidence = WrongStep(lie.why);
  evidence.order = std::move(lie.proof);
  evidence.policies.push_back(*policy);
  WG_ASSIGN(const fs::path path, KeepEvidence(std::move(evidence)));
  return Fail(Blame::kPeer, "the host lied: {}; evidence in {}", lie.why, path.string());
}

Status StepAuditing::Wrong(const SignedStep& step, Bytes records, const Signed<PolicyClaim>* policy,
                           const std::string& why) {
  WG_TRY(KeepStateBefore(step));
  Evidence evidence = WrongStep(why);
  evidence.step = StepProof{step.step, std::move(records)};
  if (policy != nullptr) evidence.policies.push_back(*policy);
  WG_ASSIGN(const fs::path path, KeepEvidence(std::move(evidence)));
  return Fail(Blame::kPeer,
              "the host lied: the step from version {}: {}; evidence in {} (`waggle verify` it "
              "with --inputs {})",
              step.step.claim.version.value, why, path.string(), places_.mirror.string());
}

}  // namespace waggle
