#include <algorithm>

#include "base/check.h"
#include "kernels/fast/fast.h"
#include "proofs/fingerprint/cases.h"
#include "run/admission.h"
#include "run/lease_book.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

constexpr double kNoticed = 0.10;        // more rollouts refused than of honest ones
constexpr double kHonestLossMax = 0.10;  // what refuses more honest rollouts is no test here

// Whether the host's book lets this one answer a lease that it granted to ann.
bool BookTakesIt(const Lease& lease, const Group& group, const NodeId& sender) {
  LeaseBook book(LeaseBookSettings{});
  const NodeId owner = ZooKey("ann").id();
  std::optional<WorkerId> asked;
  for (const NodeId& node : {owner, ZooKey("worker").id()})
    static_cast<void>(book.Step(0, WorkerJoined{node, 100}));
  for (const LeaseBookEffect& effect : book.Step(1, WorkRequested{owner, 8})) {
    if (const auto* ask = std::get_if<AskOrchestrator>(&effect)) asked = ask->worker;
  }
  Check(asked.has_value(), "who asks for work is asked for");
  static_cast<void>(book.Step(2, WorkOffered{*asked, {lease}}));
  const auto effects = book.Step(3, GroupCame{sender, lease.id, GroupHash(group), TokensOf(group)});
  return std::ranges::any_of(
      effects, [](const auto& effect) { return std::holds_alternative<JudgeGroup>(effect); });
}

std::string Named(const Reject& reject) { return ToString(reject.reason); }

// Log-probs that are not those of the weights that the group names, as the trainer notices it.
Result<bool> LogpsForged(ZooRun& run, const Handed& handed, PolicyVersion current) {
  for (const Rollout& rollout : handed.group.rollouts) {
    if (rollout.spans.front().version != current) continue;
    std::vector<TokenId> tokens = handed.group.prompt;
    tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
    WG_ASSIGN(const auto model, run.ModelOf(ZooRun::WeightsOf(current), run.ops()));
    WG_ASSIGN(const auto logps,
              ScoreTokens(*model, run.pool(), tokens, handed.lease.sampling.temperature));
    if (!std::equal(rollout.logps.begin(), rollout.logps.end(),
                    logps.end() - static_cast<std::ptrdiff_t>(rollout.logps.size())))
      return true;
  }
  return false;
}

// The lease's options, and the claim of one of its rollouts.
RolloutClaim ClaimOf(const ZooRun& run, const Handed& handed, std::size_t r,
                     const std::vector<TokenId>& prompt) {
  const Rollout& rollout = handed.group.rollouts[r];
  RolloutClaim claim{.tokens = prompt,
                     .prompt = prompt.size(),
                     .options = SamplingOptionsOf(handed.lease, run.codec()),
                     .sample = static_cast<std::uint32_t>(r),
                     .logps = rollout.logps};
  claim.tokens.insert(claim.tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
  return claim;
}

void ForgeStates(RolloutView& view, ZooStates states, const RolloutView* other) {
  if (states == ZooStates::kComputed) return;
  const auto fill = [&](std::vector<float>& to, const std::vector<float>* from) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] = states == ZooStates::kZero       ? 0.0f
              : states == ZooStates::kConstant ? 1.75f
                                               : (*from)[i % from->size()];
    }
  };
  fill(view.hidden, other == nullptr ? nullptr : &other->hidden);
  for (std::size_t l = 0; l < view.states.size(); ++l)
    fill(view.states[l], other == nullptr ? nullptr : &other->states[l]);
}

Digest256 Labelled(std::string_view label, std::uint64_t number) {
  const std::string text = std::string(label) + std::to_string(number);
  return Sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

WorkerCheat HonestWorker() {
  return {{"honest", ZooRole::kWorker, "", ""}, 0, PolicyVersion{1}, HandInHonestly};
}

}  // namespace

Result<WorkerTrial> TryWorker(ZooRun& run, const WorkerCheat& cheat) {
  WorkerTrial trial;
  for (std::uint32_t i = 0; i < kZooLeases; ++i) {
    trial.leases.push_back(run.LeaseOf(i, cheat.version));
    WG_ASSIGN(Group honest, run.Honest(trial.leases.back(), run.ops()));
    WG_ASSIGN(Handed handed, cheat.hand_in(run, trial.leases.back(), run.ops()));
    trial.honest.push_back(std::move(honest));
    trial.handed.push_back(std::move(handed));
  }
  return trial;
}

Result<std::string> WhyNotOnArrival(ZooRun& run, const Handed& handed, PolicyVersion current) {
  const NodeId sender = ZooKey(handed.stolen ? "worker" : "ann").id();
  if (!BookTakesIt(handed.lease, handed.group, sender))
    return std::string("the lease is another worker's");
  const Admission admission =
      AdmitUnder(run.recipe(), handed.lease, handed.group, current,
                 LagAdmitted(run.recipe().orchestrator, current), run.codec(), run.config().vocab);
  if (const auto* reject = std::get_if<Reject>(&admission.verdict)) return Named(*reject);
  WG_ASSIGN(const bool forged, LogpsForged(run, handed, current));
  return std::string(forged ? "the trainer's own log-probs differ" : "");
}

Result<Cell> ArrivalCell(ZooRun& run, const WorkerCheat& cheat, const WorkerTrial& trial) {
  Cell cell{.outcome = ZooOutcome::kPasses};
  std::size_t cheats = 0, caught = 0;
  for (std::size_t i = 0; i < trial.handed.size(); ++i) {
    const Handed& handed = trial.handed[i];
    if (handed.group == trial.honest[i] && !handed.stolen) continue;
    ++cheats;
    WG_ASSIGN(std::string why, WhyNotOnArrival(run, handed, cheat.version));
    if (why.empty()) continue;
    if (caught++ == 0) cell.found = std::move(why);
  }
  if (cheats == 0) return Cell{};
  cell.share = static_cast<double>(caught) / static_cast<double>(cheats);
  if (caught > 0) cell.outcome = ZooOutcome::kCaught, cell.delay = 1 / cell.share;
  return cell;
}

Result<Cell> ExactCell(ZooRun& run, const WorkerCheat&, const WorkerTrial& trial) {
  Cell cell{.outcome = ZooOutcome::kPasses};
  std::vector<Group> groups;
  for (const Handed& handed : trial.handed) groups.push_back(handed.group);
  std::size_t cheats = 0, caught = 0;
  std::uint64_t computed = 0, claimed = 0;
  for (std::size_t i = 0; i < trial.handed.size(); ++i) {
    const Handed& handed = trial.handed[i];
    if (handed.group == trial.honest[i] && !handed.stolen) continue;
    ++cheats;
    const Examination found =
        Examine(run.Examined(), run.Lookup(run.ops()), run.pool(), handed.lease, handed.group);
    if (const auto* fault = std::get_if<Fault>(&found.verdict))
      return Fail(Blame::kMachine, "{}", fault->what);
    computed += found.tokens;
    claimed += TokensOf(handed.group);
    const auto* reject = std::get_if<Reject>(&found.verdict);
    if (reject == nullptr) continue;
    const Decision decision = run.DecideFile(
        run.AccuseWorker(groups, trial.leases, static_cast<std::uint32_t>(i), found));
    if (decision.kind != Decision::Kind::kProved) {
      cell.found = "found, and not proved: " + decision.text;
      continue;
    }
    if (caught++ == 0) cell.found = Named(*reject);
  }
  if (cheats == 0) return Cell{};
  cell.share = static_cast<double>(caught) / static_cast<double>(cheats);
  cell.cost = static_cast<double>(computed) / static_cast<double>(claimed);
  if (caught > 0) cell.outcome = ZooOutcome::kCaught, cell.delay = 1 / cell.share;
  return cell;
}

Result<FingerprintStand> FingerprintStand::Make(ZooRun& run) {
  FingerprintStand stand;
  stand.prints_ = AllFingerprints();
  CalibrationPlan plan{.config = &run.config(),
                       .numerics = run.numerics(),
                       .parameters = &run.ParametersOf(ZooWeights::kVersion1),
                       .ops = &run.ops(),
                       .pool = &run.pool(),
                       .stop_ids = run.codec().stop_ids(),
                       .samples = 4,
                       .seed = 1};
  for (std::uint32_t i = 0; i < 24; ++i) {
    const Lease lease = run.LeaseOf(5'000 + i);
    plan.sampling = lease.sampling;
    const auto task = run.codec().environment().MakeTask(lease.task_seed);
    plan.prompts.push_back(run.codec().PromptTokens(*task));
  }
  std::vector<CaseScores> cases;
  for (const CaseDoc& doc : CalibrationCases()) {
    if (doc.name != "canonical" && doc.name != "fast-splitk" && doc.name != "fast-tiles") continue;
    WG_ASSIGN(CaseScores scores, RunCase(plan, doc, stand.prints_));
    cases.push_back(std::move(scores));
  }
  for (const SchemeReport& scheme : Calibrate(stand.prints_, cases).schemes)
    stand.limits_.push_back(scheme.calibrated);
  WG_ASSIGN(stand.honest_refused_, stand.Refused(run, HonestWorker()));
  return stand;
}

Result<std::vector<double>> FingerprintStand::Refused(ZooRun& run, const WorkerCheat& cheat) const {
  const Ops& engine = FastOps(FastEngine::kTiles);
  std::vector<double> refused(prints_.size());
  std::size_t rollouts = 0;
  for (std::uint32_t i = 0; i < kZooLeases; ++i) {
    WG_ASSIGN(const Handed handed, cheat.hand_in(run, run.LeaseOf(i, cheat.version), engine));
    std::optional<RolloutView> before;
    for (std::size_t r = 0; r < handed.group.rollouts.size(); ++r) {
      const RolloutClaim claim = ClaimOf(run, handed, r, handed.group.prompt);
      const RolloutClaim read =
          handed.prover_prompt.empty() ? claim : ClaimOf(run, handed, r, handed.prover_prompt);
      const auto& spans = handed.group.rollouts[r].spans;
      if (spans.size() > 1) continue;  // a fingerprint is of one version
      const PolicyVersion version = spans.front().version;
      WG_ASSIGN(const auto truth, run.ModelOf(ZooRun::WeightsOf(version), run.ops()));
      // Whoever says another version computes its states with that one.
      WG_ASSIGN(const auto own_prover, run.ModelOf(ZooRun::WeightsOf(version), engine));
      const Model& prover = version == cheat.version ? *handed.prover : *own_prover;
      WG_ASSIGN(RolloutView view, LookAt(prover, run.pool(), read));
      const RolloutView kept = view;
      ForgeStates(view, handed.states, before ? &*before : &kept);
      before = kept;
      view.ids = claim.tokens, view.prompt = claim.prompt;
      WG_ASSIGN(const RolloutView own, LookAt(*truth, run.pool(), claim));
      const std::uint64_t number = std::uint64_t{i} * 64 + r;
      const FingerprintScope scope{run.id(), Labelled("rollout", number), Labelled("beacon", 0)};
      const Digest256 challenge = Labelled("challenge", number);
      ++rollouts;
      for (std::size_t f = 0; f < prints_.size(); ++f) {
        WG_ASSIGN(const Bytes commitment, prints_[f]->Commit(scope, view));
        WG_ASSIGN(const Bytes opening, prints_[f]->Open(scope, view, challenge));
        const auto units =
            prints_[f]->Measure(scope, commitment, opening, challenge, claim.logps, own);
        if (!units && units.error().blame != Blame::kPeer) return Forward(units.error());
        const bool good =
            units && Judge(prints_[f]->info(), limits_[f], *units).likeness == Likeness::kLikely;
        refused[f] += good ? 0 : 1;
      }
    }
  }
  for (double& share : refused) share /= std::max(1.0, static_cast<double>(rollouts));
  return refused;
}

Result<std::vector<Cell>> FingerprintStand::Cells(ZooRun& run, const WorkerCheat& cheat) const {
  WG_ASSIGN(const std::vector<double> refused, Refused(run, cheat));
  std::vector<Cell> cells;
  for (std::size_t f = 0; f < prints_.size(); ++f) {
    Cell cell{.outcome = ZooOutcome::kPasses, .share = refused[f], .cost = 1.0};
    if (honest_refused_[f] > kHonestLossMax) {
      cell = {.outcome = ZooOutcome::kNone, .found = "refuses honest rollouts of this run"};
    } else if ((cheat.honest_in & Bit(prints_[f]->info().sees)) != 0) {
      cell.outcome = ZooOutcome::kBlind;
    } else if (refused[f] > honest_refused_[f] + kNoticed) {
      cell.outcome = ZooOutcome::kCaught;
      cell.found = "unlikely";
      cell.delay = 1 / refused[f];
    }
    cells.push_back(std::move(cell));
  }
  return cells;
}

}  // namespace waggle
