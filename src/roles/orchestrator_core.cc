#include "roles/orchestrator_core.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/hex.h"
#include "crypto/hash.h"
#include "rollout/encoding.h"
#include "run/step_check.h"

namespace waggle {
namespace {

constexpr std::size_t kSamplesKept = 8;
constexpr WorkerId kNobody{0};

std::string SampleJson(const Task& task, const ScoredGroup& scored, const TaskCodec& codec) {
  std::string prompt;
  for (const Message& message : task.prompt) prompt += message.content;
  nlohmann::json sample = {
      {"prompt", prompt},
      {"response", codec.Text(scored.group.rollouts[0].tokens)},
      {"answer", task.answer},
      {"reward", scored.rewards[0] ? nlohmann::json(*scored.rewards[0]) : nlohmann::json()},
      {"correct", static_cast<bool>(scored.correct[0])}};
  return sample.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

OrchestratorCore::OrchestratorCore(const Hash256& run, const Recipe& recipe, const TaskCodec& codec,
                                   std::size_t vocab)
    : run_(run),
      recipe_(recipe),
      codec_(codec),
      vocab_(vocab),
      by_arrival_(recipe.orchestrator.by_arrival()) {
  const DifficultyRecipe& difficulty = recipe.orchestrator.difficulty;
  if (difficulty.tasks > 0) pool_.emplace(difficulty, recipe.seed);
  StartEvaluationIfDue();
}

std::vector<OrchestratorEffect> OrchestratorCore::Step(const OrchestratorEvent& event) {
  std::vector<OrchestratorEffect> effects;
  if (const auto* idle = std::get_if<WorkerIdle>(&event)) {
    Recall();  // what was granted before is not granted again
    GrantTo(*idle, effects);
  } else if (const auto* arrived = std::get_if<GroupArrived>(&event)) {
    OnGroup(*arrived, effects);
  } else if (const auto* lost = std::get_if<WorkerLost>(&event)) {
    OnLost(*lost);
  } else if (const auto* taken = std::get_if<LeaseTakenBack>(&event)) {
    OnTakenBack(*taken);
  } else if (const auto* kept = std::get_if<GroupKept>(&event)) {
    OnKept(*kept, effects);
  } else if (const auto* published = std::get_if<PolicyPublished>(&event)) {
    Check(published->version.value == version_.value + 1, "versions are published one by one");
    version_ = published->version;
    batch_in_training_ = false;
    StartEvaluationIfDue();
    return effects;  // the driver may want a checkpoint first
  } else if (const auto* restored = std::get_if<LeaseRestored>(&event)) {
    Outstanding out{.lease = restored->lease, .worker = restored->worker};
    Memory& memory = memory_[restored->lease.id.value];
    // A desk's lease may have been accepted while we looked.
    if (!memory.scored) memory.out = std::move(out);
    unreconciled_ = by_arrival_;
    return effects;
  } else if (std::holds_alternative<CheckpointDue>(event) ||
             std::holds_alternative<CheckpointTaken>(event)) {
    paused_ = std::holds_alternative<CheckpointDue>(event);
    return effects;  // leases of this version are asked for before the next batch moves it
  }
  do {
    Advance(effects);
  } while (Recall());
  return effects;
}

void OrchestratorCore::StartEvaluationIfDue() {
  const auto& settings = recipe_.evaluation;
  if (settings.tasks == 0 || evaluated_version_ == version_.value) return;
  const bool due = version_.value == 0 || version_.value == recipe_.orchestrator.steps ||
                   (settings.every > 0 && version_.value % settings.every == 0);
  if (!due) return;
  evaluation_ = EvaluationRound{};
  evaluation_->result.version = version_;
}

std::optional<Lease> OrchestratorCore::NextEvaluationLease() {
  if (!evaluation_ || evaluation_->granted == recipe_.evaluation.tasks) return std::nullopt;
  return EvaluationLease(evaluation_->granted++);
}

Lease OrchestratorCore::EvaluationLease(std::uint64_t index) const {
  return Maker().Fresh(LeaseIdOf(version_.value, index, true), version_);
}

// The oldest wave that still has leases to give, or the next one if the trainer is near enough.
OrchestratorCore::Wave* OrchestratorCore::WaveWithWork() {
  if (by_arrival_)
    std::erase_if(waves_, [](const Wave& wave) { return wave.granted == wave.to_grant; });
  for (Wave& wave : waves_) {
    if (wave.granted < wave.to_grant) return &wave;
  }
  const auto& settings = recipe_.orchestrator;
  if (next_wave_ >= settings.steps || next_wave_ > version_.value + settings.ahead) return nullptr;
  OpenWave();
  return &waves_.back();
}

std::optional<Lease> OrchestratorCore::NextTrainingLease(std::uint64_t& wave_number) {
  Wave* wave = WaveWithWork();
  if (wave == nullptr) return std::nullopt;
  wave_number = wave->number;
  return TrainingLease(wave->number, wave->granted++);
}

Lease OrchestratorCore::TrainingLease(std::uint64_t wave, std::uint32_t index) const {
  const LeaseId id = LeaseIdOf(wave, index);
  const LeaseMaker maker = Maker();
  return maker.Make(id, pool_ ? pool_->Draw(wave, index) : maker.FreshTask(id), version_);
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
    // What waited too long would only come back stale.
    const Lease& lease = out.lease;
    if (version_.value - lease.version.value > recipe_.orchestrator.lag_versions_max)
      out.lease = Maker().Make(lease.id, lease.task_seed, version_);
    grant(std::move(out));
  }
  while (room > 0 && !paused_) {
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

void OrchestratorCore::OnGroup(const GroupArrived& event,
                               std::vector<OrchestratorEffect>& effects) {
  const auto found = outstanding_.find(event.group.lease.value);
  if (found == outstanding_.end() || found->second.worker != event.worker) {
    effects.push_back(
        GroupJudged{event.worker, event.group.lease,
                    Reject{RejectReason::kUnknownLease, "not leased to this worker"}});
    return;
  }
  const Outstanding out = found->second;
  Admission admission =
      Judge(out.lease, event.group, version_, LagAdmitted(recipe_.orchestrator, version_));
  effects.push_back(GroupJudged{event.worker, out.lease.id, admission.verdict});
  outstanding_.erase(found);
  if (const auto* reject = std::get_if<Reject>(&admission.verdict)) {
    // Somebody else samples it; the lease keeps its id, so batches stay the same. One that went
    // stale is leased anew under today's version: the old one could only go stale again.
    const Lease& lease = out.lease;
    returned_.push_back(out);
    if (reject->reason == RejectReason::kStalePolicy) {
      returned_.back().lease = Maker().Make(lease.id, lease.task_seed, version_);
    }
    return;
  }
  Admit(out, std::move(admission.scored));
}

void OrchestratorCore::Admit(const Outstanding& out, ScoredGroup scored) {
  if (out.lease.evaluation) return OnEvaluationGroup(out.lease, scored);
  if (by_arrival_) return arrived_.push_back({out.lease, std::move(scored)});
  for (Wave& wave : waves_) {
    if (wave.number != out.wave) continue;
    wave.groups.emplace(out.lease.id.value, Admitted{out.lease, std::move(scored)});
    ++wave.resolved;
  }
}

Admission OrchestratorCore::Judge(const Lease& lease, const Group& group, PolicyVersion current,
                                  std::uint64_t lag_versions_max) const {
  return AdmitUnder(recipe_, lease, group, current, lag_versions_max, codec_, vocab_);
}

void OrchestratorCore::OnEvaluationGroup(const Lease& lease, const ScoredGroup& scored) {
  Check(evaluation_.has_value(), "an evaluation lease belongs to an evaluation");
  EvaluationRound::Outcome outcome{
      .correct = scored.correct[0],
      .reward = scored.rewards[0].value_or(0.0),
      .length = static_cast<double>(scored.group.rollouts[0].tokens.size())};
  if ((lease.task_seed & ~kHeldOutBit) < kSamplesKept) {
    outcome.sample =
        SampleJson(codec_.environment().MakeTask(lease.task_seed).value(), scored, codec_);
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

void OrchestratorCore::OnTakenBack(LeaseTakenBack event) {
  // One whose turn has not come again since a restart will come without a worker.
  const auto known = memory_.find(event.lease.value);
  if (known != memory_.end() && known->second.out.worker == event.worker)
    known->second.out.worker = kNobody;
  const auto found = outstanding_.find(event.lease.value);
  if (found == outstanding_.end() || found->second.worker != event.worker) return;
  returned_.push_back(std::move(found->second));
  outstanding_.erase(found);
}

// Like a group that was remembered, if this worker has its lease, or will when its turn comes.
// Otherwise it was remembered.
void OrchestratorCore::OnKept(const GroupKept& event, std::vector<OrchestratorEffect>& effects) {
  const std::uint64_t id = event.record.lease.id.value;
  const auto found = outstanding_.find(id);
  const auto known = memory_.find(id);
  const bool out = found != outstanding_.end() && found->second.worker == event.worker;
  const bool coming = known != memory_.end() && !known->second.scored;
  if (!out && !coming) return;
  auto scored = JudgeKept(event.record);
  if (!scored) return effects.push_back(RunBroken{scored.error()});
  if (!out) {
    known->second = Memory{{.lease = event.record.lease}, std::move(*scored)};
    return;
  }
  Outstanding admitted = std::move(found->second);
  outstanding_.erase(found);
  admitted.lease = event.record.lease;
  Admit(admitted, std::move(*scored));
}

// Another round of leases for a wave that is short of useful groups; false when it must do with
// what it has.
bool OrchestratorCore::TopUp(Wave& wave) {
  const auto& settings = recipe_.orchestrator;
  if (!settings.drop_uniform) return false;
  std::erase_if(wave.groups, [](const auto& entry) {
    const auto& correct = entry.second.scored.correct;
    return std::all_of(correct.begin(), correct.end(),
                       [&](bool c) { return c == correct.front(); });
  });
  if (wave.groups.size() >= settings.groups_per_step || wave.rounds >= settings.waves_max)
    return false;
  ++wave.rounds;
  wave.to_grant += settings.groups_per_step - static_cast<std::uint32_t>(wave.groups.size());
  return true;
}

// Before the filter, which would hide the easy and the hard ones.
void OrchestratorCore::MeasureTasks(const Wave& wave) {
  if (!pool_) return;
  for (const auto& [id, admitted] : wave.groups) {
    std::uint64_t correct = 0, answers = 0;
    for (std::size_t i = 0; i < admitted.scored.rewards.size(); ++i) {
      if (!admitted.scored.rewards[i]) continue;
      ++answers;
      correct += admitted.scored.correct[i] ? 1 : 0;
    }
    pool_->Measured(admitted.lease.task_seed, correct, answers);
  }
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
  if (finished_ || paused_) return;
  if (evaluation_ && evaluation_->outcomes.size() == recipe_.evaluation.tasks)
    FinishEvaluation(effects);
  if (evaluation_ || batch_in_training_) return;
  if (version_.value == recipe_.orchestrator.steps) {
    finished_ = true;
    effects.push_back(RunFinished{});
    return;
  }
  if (by_arrival_) return FormBatchByArrival(effects);
  FormBatchOfWave(effects);
}

void OrchestratorCore::FormBatchOfWave(std::vector<OrchestratorEffect>& effects) {
  if (waves_.empty()) return;
  Wave& wave = waves_.front();
  if (wave.resolved < wave.to_grant) return;
  MeasureTasks(wave);
  if (TopUp(wave)) return;
  TrainOn batch{.batch = wave.number};
  for (auto& [id, admitted] : wave.groups) {
    if (batch.groups.size() == recipe_.orchestrator.groups_per_step) break;
    WithholdStale(version_, recipe_.orchestrator.lag_versions_max, admitted.scored);
    batch.groups.push_back(std::move(admitted.scored));
    batch.leases.push_back(std::move(admitted.lease));
  }
  waves_.pop_front();
  SendBatch(std::move(batch), effects);
}

void OrchestratorCore::SendBatch(TrainOn batch, std::vector<OrchestratorEffect>& effects) {
  batch_in_training_ = true;
  ++batches_sent_;
  effects.push_back(std::move(batch));
}

// Staleness was judged when the group came in; everything else is judged again. A group that would
// be refused was not kept as it came.
Result<ScoredGroup> OrchestratorCore::JudgeKept(const GroupRecord& record) const {
  auto scored = ScoreAgain(recipe_, record, version_, codec_, vocab_);
  if (!scored) return Fail(Blame::kMachine, "{}", scored.error().what);
  return scored;
}

Status OrchestratorCore::Remember(std::vector<GroupRecord> records) {
  for (GroupRecord& record : records) {
    WG_ASSIGN(ScoredGroup scored, JudgeKept(record));
    const std::uint64_t id = record.lease.id.value;
    if (by_arrival_ && !record.lease.evaluation) {
      OpenUpTo(id);
      arrived_.push_back({std::move(record.lease), std::move(scored)});
      unreconciled_ = true;
      continue;
    }
    memory_.insert_or_assign(id, Memory{{.lease = std::move(record.lease)}, std::move(scored)});
  }
  return {};
}

// Takes the leases that memory knows, and those that were granted before them, out of the granting
// order and back to where they were: accepted, with their worker, or free. True: something moved.
bool OrchestratorCore::Recall() {
  bool moved = false;
  while (evaluation_ && Remembers(LeaseIdOf(version_.value, evaluation_->granted, true),
                                  LeaseIdOf(version_.value, recipe_.evaluation.tasks, true))) {
    Recall({.lease = EvaluationLease(evaluation_->granted++)});
    moved = true;
  }
  if (by_arrival_) Reconcile();
  while (!by_arrival_ && Remembers(LeaseId{0}, LeaseIdOf(0, 0, /*evaluation=*/true))) {
    Wave* wave = WaveWithWork();
    if (wave == nullptr ||
        !Remembers(LeaseIdOf(wave->number, wave->granted), LeaseIdOf(0, 0, /*evaluation=*/true)))
      break;
    Recall({.lease = TrainingLease(wave->number, wave->granted++), .wave = wave->number});
    moved = true;
  }
  return moved;
}

bool OrchestratorCore::Remembers(LeaseId first, LeaseId end) const {
  const auto found = memory_.lower_bound(first.value);
  return found != memory_.end() && found->first < end.value;
}

void OrchestratorCore::Recall(Outstanding out) {
  const auto found = memory_.find(out.lease.id.value);
  if (found == memory_.end()) {  // lost by whoever had it, and not granted again
    returned_.push_back(std::move(out));
    return;
  }
  Memory memory = std::move(found->second);
  memory_.erase(found);
  out.lease = std::move(memory.out.lease);  // of the version that it was granted under
  out.worker = memory.out.worker;
  if (memory.scored) return Admit(out, std::move(*memory.scored));
  if (out.worker == kNobody) return returned_.push_back(std::move(out));
  outstanding_.emplace(out.lease.id.value, std::move(out));
}

const Lease* OrchestratorCore::LeaseOut(LeaseId id) const {
  const auto found = outstanding_.find(id.value);
  return found == outstanding_.end() ? nullptr : &found->second.lease;
}

bool OrchestratorCore::quiescent() const {
  const bool evaluating = evaluation_ && evaluation_->granted > 0;
  return outstanding_.empty() && returned_.empty() && !batch_in_training_ && !evaluating;
}

std::string OrchestratorCore::SavePosition() const {
  Check(!batch_in_training_, "a position lies between two steps");
  return StateOf(by_arrival_ ? next_wave_ : version_.value, nlohmann::json::array());
}

std::string OrchestratorCore::Save() const {
  Check(quiescent(), "state is saved while no lease is out");
  Check(unused_.empty(), "where batches come by arrival, groups are kept by the driver");
  auto waves = nlohmann::json::array();
  for (const Wave& wave : waves_) {
    std::vector<GroupRecord> records;
    for (const auto& [id, admitted] : wave.groups)
      records.push_back({admitted.lease, admitted.scored.group});
    waves.push_back({{"number", wave.number},
                     {"to_grant", wave.to_grant},
                     {"granted", wave.granted},
                     {"resolved", wave.resolved},
                     {"rounds", wave.rounds},
                     {"groups", ToHex(EncodeRecords(records))}});
  }
  return StateOf(next_wave_, std::move(waves));
}

std::string OrchestratorCore::StateOf(std::uint64_t next_wave, nlohmann::json waves) const {
  nlohmann::json state = {{"version", version_.value},
                          {"next_wave", next_wave},
                          {"batches_sent", batches_sent_},
                          {"evaluated", evaluated_version_.has_value()},
                          {"evaluated_version", evaluated_version_.value_or(0)},
                          {"waves", std::move(waves)}};
  if (pool_) state["pool"] = pool_->Save();
  if (by_arrival_) state["unused"] = UnusedJson();
  return state.dump();
}

Status OrchestratorCore::LoadWave(const nlohmann::json& saved) {
  for (const char* key : {"number", "to_grant", "granted", "resolved", "rounds"}) {
    if (!saved.contains(key) || !saved[key].is_number_unsigned())
      return Fail(Blame::kMachine, "orchestrator state: waves: {} is missing", key);
  }
  if (!saved.contains("groups") || !saved["groups"].is_string())
    return Fail(Blame::kMachine, "orchestrator state: waves: groups are missing");
  Wave wave{.number = saved["number"],
            .to_grant = saved["to_grant"],
            .granted = saved["granted"],
            .resolved = saved["resolved"],
            .rounds = saved["rounds"],
            .groups = {}};
  WG_ASSIGN(const std::string bytes, FromHex(saved["groups"].get_ref<const std::string&>()));
  WG_ASSIGN(const auto records,
            DecodeRecords({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}));
  for (const GroupRecord& record : records) {
    WG_ASSIGN(ScoredGroup scored, JudgeKept(record));
    wave.groups.emplace(record.lease.id.value, Admitted{record.lease, std::move(scored)});
  }
  waves_.push_back(std::move(wave));
  return {};
}

Status OrchestratorCore::Load(std::string_view text) {
  const auto state = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object()) return Fail(Blame::kMachine, "orchestrator state is not a JSON object");
  for (const char* key : {"version", "next_wave", "batches_sent", "evaluated_version"}) {
    if (!state.contains(key) || !state[key].is_number_unsigned())
      return Fail(Blame::kMachine, "orchestrator state: {} is missing", key);
  }
  if (!state.contains("evaluated") || !state["evaluated"].is_boolean())
    return Fail(Blame::kMachine, "orchestrator state: evaluated is missing");
  if (!state.contains("waves") || !state["waves"].is_array())
    return Fail(Blame::kMachine, "orchestrator state: waves are missing");
  version_ = PolicyVersion{state["version"].get<std::uint64_t>()};
  next_wave_ = state["next_wave"].get<std::uint64_t>();
  batches_sent_ = state["batches_sent"].get<std::uint64_t>();
  evaluated_version_.reset();
  if (state["evaluated"].get<bool>())
    evaluated_version_ = state["evaluated_version"].get<std::uint64_t>();
  if (pool_) {
    if (!state.contains("pool"))
      return Fail(Blame::kMachine, "orchestrator state: pool is missing");
    WG_TRY(pool_->Load(state["pool"]));
  }
  if (by_arrival_) WG_TRY(LoadUnused(state));
  waves_.clear();
  for (const auto& wave : state["waves"]) WG_TRY(LoadWave(wave));
  evaluation_.reset();
  StartEvaluationIfDue();
  return {};
}

}  // namespace waggle
