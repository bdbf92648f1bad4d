#include "roles/orchestrator_core.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

constexpr std::size_t kSamplesKept = 8;

Hash256 HashTokens(const std::vector<TokenId>& tokens) {
  return Sha256({reinterpret_cast<const std::uint8_t*>(tokens.data()), tokens.size() * sizeof(TokenId)});
}

std::string SampleJson(const Task& task, const ScoredGroup& scored, const TaskCodec& codec) {
  std::string prompt;
  for (const Message& message : task.prompt) prompt += message.content;
  nlohmann::json sample = {{"prompt", prompt},
                           {"response", codec.Text(scored.group.rollouts[0].tokens)},
                           {"answer", task.answer},
                           {"reward", scored.rewards[0] ? nlohmann::json(*scored.rewards[0]) : nlohmann::json()},
                           {"correct", static_cast<bool>(scored.correct[0])}};
  return sample.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

OrchestratorCore::OrchestratorCore(const Hash256& run, const Recipe& recipe, const TaskCodec& codec,
                                   std::size_t vocab)
    : run_(run), recipe_(recipe), codec_(codec), vocab_(vocab) {
  StartEvaluationIfDue();
}

std::vector<OrchestratorEffect> OrchestratorCore::Step(const OrchestratorEvent& event) {
  std::vector<OrchestratorEffect> effects;
  if (const auto* idle = std::get_if<WorkerIdle>(&event)) {
    GrantTo(*idle, effects);
  } else if (const auto* arrived = std::get_if<GroupArrived>(&event)) {
    OnGroup(*arrived, effects);
  } else if (const auto* lost = std::get_if<WorkerLost>(&event)) {
    OnLost(*lost);
  } else {
    const auto& published = std::get<PolicyPublished>(event);
    Check(published.version.value == version_.value + 1, "versions are published one by one");
    version_ = published.version;
    batch_in_training_ = false;
    StartEvaluationIfDue();
    return effects;  // no further work before the driver had its chance to checkpoint
  }
  Advance(effects);
  return effects;
}

void OrchestratorCore::StartEvaluationIfDue() {
  const auto& settings = recipe_.evaluation;
  if (settings.tasks == 0 || evaluated_version_ == version_.value) return;
  const bool due = version_.value == 0 || version_.value == recipe_.orchestrator.steps ||
                   (settings.every > 0 && version_.value % settings.every == 0);
  if (!due) return;
  evaluation_.emplace();
  evaluation_->result.version = version_;
}

Result<Lease> OrchestratorCore::MakeLease(std::uint64_t task_seed, std::uint32_t group_size, bool evaluation) {
  WG_ASSIGN(const Task task, codec_.environment().MakeTask(task_seed));
  Lease lease;
  lease.id = LeaseId{next_lease_++};
  lease.environment = std::string(codec_.environment().name());
  lease.task_seed = task_seed;
  lease.group_size = group_size;
  lease.version = version_;
  // Evaluations draw from keys of their own, so a training lease never sees the same race.
  const std::uint64_t epoch = version_.value * 2 + (evaluation ? 1 : 0);
  lease.key = SamplingKey(run_, HashTokens(codec_.PromptTokens(task)), epoch);
  const auto& sampling = recipe_.sampling;
  lease.sampling = {.temperature = static_cast<float>(sampling.temperature),
                    .top_p = static_cast<float>(sampling.top_p),
                    .min_p = static_cast<float>(sampling.min_p),
                    .top_k = sampling.top_k,
                    .tokens_max = sampling.tokens_max};
  if (evaluation) lease.sampling.temperature = static_cast<float>(recipe_.evaluation.temperature);
  lease.evaluation = evaluation;
  return lease;
}

std::optional<Lease> OrchestratorCore::NextEvaluationLease() {
  if (!evaluation_) return std::nullopt;
  if (evaluation_->granted == recipe_.evaluation.tasks) return std::nullopt;
  auto lease = MakeLease(kHeldOutBit | evaluation_->granted, 1, /*evaluation=*/true);
  Check(lease.has_value(), "an environment that passed its self-check makes every task");
  ++evaluation_->granted;
  return *lease;
}

std::optional<Lease> OrchestratorCore::NextTrainingLease(std::uint64_t& wave_number) {
  const auto& settings = recipe_.orchestrator;
  if (waves_.empty() || waves_.back().granted == waves_.back().to_grant) {
    const bool may_open = next_wave_ < settings.steps && next_wave_ <= version_.value + settings.ahead;
    const bool last_still_out = !waves_.empty() && waves_.back().resolved < waves_.back().to_grant && settings.drop_uniform;
    if (!may_open || last_still_out) return std::nullopt;
    waves_.push_back({.number = next_wave_++, .to_grant = settings.groups_per_step});
  }
  Wave& wave = waves_.back();
  // The task's seed is a Philox word of (run seed, index): a stream without end and without repetition of order.
  const std::uint64_t index = next_task_++;
  const auto words = Philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 6},
                            PhiloxKeyFrom(recipe_.seed));
  const std::uint64_t seed = (words[0] | (std::uint64_t{words[1]} << 32)) & ~kHeldOutBit;
  auto lease = MakeLease(seed, settings.group_size, /*evaluation=*/false);
  Check(lease.has_value(), "an environment that passed its self-check makes every task");
  ++wave.granted;
  wave_number = wave.number;
  return *lease;
}

void OrchestratorCore::GrantTo(WorkerIdle idle, std::vector<OrchestratorEffect>& effects) {
  std::uint32_t room = idle.rollouts_max;
  const auto grant = [&](Outstanding out) {
    room -= std::min(room, out.lease.group_size);
    out.worker = idle.worker;
    effects.push_back(GrantLease{idle.worker, out.lease});
    outstanding_.emplace(out.lease.id.value, std::move(out));
  };
  while (room > 0 && !returned_.empty()) {
    Outstanding out = std::move(returned_.front());
    returned_.pop_front();
    grant(std::move(out));
  }
  while (room > 0) {
    Outstanding out;
    if (auto lease = NextEvaluationLease()) {
      out.lease = std::move(*lease);
    } else if (auto training = NextTrainingLease(out.wave)) {
      out.lease = std::move(*training);
    } else {
      break;
    }
    grant(std::move(out));
  }
}

void OrchestratorCore::OnGroup(const GroupArrived& event, std::vector<OrchestratorEffect>& effects) {
  const auto found = outstanding_.find(event.group.lease.value);
  if (found == outstanding_.end() || found->second.worker != event.worker) {
    effects.push_back(GroupJudged{event.worker, event.group.lease,
                                  Reject{RejectReason::kUnknownLease, "not leased to this worker"}});
    return;
  }
  const Outstanding out = found->second;
  const auto task = codec_.environment().MakeTask(out.lease.task_seed);
  Check(task.has_value(), "a leased task can be made again");
  const AdmissionPolicy policy{.lag_versions_max = recipe_.orchestrator.lag_versions_max,
                               .vocab = vocab_,
                               .random_reward = recipe_.orchestrator.reward == "random" && !out.lease.evaluation,
                               .random_seed = recipe_.seed};
  Admission admission = Admit(out.lease, *task, event.group, version_, codec_, policy);
  effects.push_back(GroupJudged{event.worker, out.lease.id, admission.verdict});
  outstanding_.erase(found);
  if (!std::holds_alternative<Accepted>(admission.verdict)) {
    returned_.push_back(out);  // somebody else samples it; the lease keeps its id, so batches stay the same
    return;
  }
  if (out.lease.evaluation) {
    OnEvaluationGroup(out.lease, admission, *task);
    return;
  }
  for (Wave& wave : waves_) {
    if (wave.number != out.wave) continue;
    wave.groups.emplace(out.lease.id.value, std::move(admission.scored));
    ++wave.resolved;
  }
}

void OrchestratorCore::OnEvaluationGroup(const Lease& lease, const Admission& admission, const Task& task) {
  Check(evaluation_.has_value(), "an evaluation lease belongs to an evaluation");
  const Rollout& rollout = admission.scored.group.rollouts[0];
  EvaluationRound::Outcome outcome{.correct = admission.scored.correct[0],
                                   .reward = admission.scored.rewards[0].value_or(0.0),
                                   .length = static_cast<double>(rollout.tokens.size())};
  if ((lease.task_seed & ~kHeldOutBit) < kSamplesKept) {
    outcome.sample = SampleJson(task, admission.scored, codec_);
  }
  evaluation_->outcomes.emplace(lease.task_seed, std::move(outcome));
}

void OrchestratorCore::OnLost(WorkerLost event) {
  for (auto it = outstanding_.begin(); it != outstanding_.end();) {
    if (it->second.worker == event.worker) {
      returned_.push_back(it->second);
      it = outstanding_.erase(it);
    } else {
      ++it;
    }
  }
}

// Another round of leases for a wave that is short of useful groups; false when it must do with what it has.
bool OrchestratorCore::TopUp(Wave& wave) {
  const auto& settings = recipe_.orchestrator;
  if (!settings.drop_uniform) return false;
  std::erase_if(wave.groups, [](const auto& entry) {
    const auto& correct = entry.second.correct;
    return std::all_of(correct.begin(), correct.end(), [&](bool c) { return c == correct.front(); });
  });
  if (wave.groups.size() >= settings.groups_per_step || wave.rounds >= settings.waves_max) return false;
  ++wave.rounds;
  wave.to_grant += settings.groups_per_step - static_cast<std::uint32_t>(wave.groups.size());
  return true;
}

void OrchestratorCore::FinishEvaluation(std::vector<OrchestratorEffect>& effects) {
  Evaluation result = std::move(evaluation_->result);
  for (auto& [seed, outcome] : evaluation_->outcomes) {
    ++result.tasks;
    result.correct += outcome.correct ? 1 : 0;
    result.reward_mean += outcome.reward;
    result.length_mean += outcome.length;
    if (!outcome.sample.empty()) result.samples.push_back(std::move(outcome.sample));
  }
  result.reward_mean /= static_cast<double>(result.tasks);
  result.length_mean /= static_cast<double>(result.tasks);
  evaluated_version_ = result.version.value;
  evaluation_.reset();
  effects.push_back(Evaluated{std::move(result)});
}

void OrchestratorCore::Advance(std::vector<OrchestratorEffect>& effects) {
  if (finished_) return;
  if (evaluation_ && evaluation_->outcomes.size() == recipe_.evaluation.tasks) FinishEvaluation(effects);
  if (evaluation_ || batch_in_training_) return;
  if (version_.value == recipe_.orchestrator.steps) {
    finished_ = true;
    effects.push_back(RunFinished{});
    return;
  }
  if (waves_.empty()) return;
  Wave& wave = waves_.front();
  if (wave.resolved < wave.to_grant || TopUp(wave)) return;
  TrainOn batch{.batch = wave.number};
  for (auto& [lease, scored] : wave.groups) {
    if (batch.groups.size() < recipe_.orchestrator.groups_per_step) batch.groups.push_back(std::move(scored));
  }
  waves_.pop_front();
  batch_in_training_ = true;
  ++batches_sent_;
  effects.push_back(std::move(batch));
}

bool OrchestratorCore::quiescent() const {
  const bool evaluating = evaluation_ && evaluation_->granted > 0;
  const bool sampling = std::any_of(waves_.begin(), waves_.end(), [](const Wave& w) { return w.resolved < w.to_grant; });
  return outstanding_.empty() && returned_.empty() && !sampling && !batch_in_training_ && !evaluating;
}

std::string OrchestratorCore::Save() const {
  Check(waves_.empty() || recipe_.orchestrator.ahead > 0, "a synchronous run is saved between waves");
  const nlohmann::json state = {{"version", version_.value},     {"next_lease", next_lease_},
                                {"next_task", next_task_},       {"next_wave", next_wave_},
                                {"batches_sent", batches_sent_}, {"evaluated", evaluated_version_.has_value()},
                                {"evaluated_version", evaluated_version_.value_or(0)}};
  return state.dump();
}

Status OrchestratorCore::Load(std::string_view text) {
  const auto state = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object()) return Fail(Blame::kMachine, "orchestrator state is not a JSON object");
  for (const char* key : {"version", "next_lease", "next_task", "next_wave", "batches_sent", "evaluated_version"}) {
    if (!state.contains(key) || !state[key].is_number_unsigned()) {
      return Fail(Blame::kMachine, "orchestrator state: field {} is missing", key);
    }
  }
  version_ = PolicyVersion{state["version"].get<std::uint64_t>()};
  next_lease_ = state["next_lease"].get<std::uint64_t>();
  next_task_ = state["next_task"].get<std::uint64_t>();
  next_wave_ = state["next_wave"].get<std::uint64_t>();
  batches_sent_ = state["batches_sent"].get<std::uint64_t>();
  evaluated_version_.reset();
  if (state.value("evaluated", false)) evaluated_version_ = state["evaluated_version"].get<std::uint64_t>();
  evaluation_.reset();
  StartEvaluationIfDue();
  return {};
}

}  // namespace waggle
