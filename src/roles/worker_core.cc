#include "roles/worker_core.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {

WorkerCore::WorkerCore(const TaskCodec& codec, std::uint32_t rollouts_max)
    : codec_(codec), rollouts_max_(rollouts_max) {}

std::vector<WorkerEffect> WorkerCore::Step(const WorkerEvent& event) {
  std::vector<WorkerEffect> effects;
  if (const auto* granted = std::get_if<LeaseGranted>(&event)) {
    OnLease(*granted, effects);
  } else if (const auto* started = std::get_if<SamplingStarted>(&event)) {
    lease_of_[started->request] = started->lease.value;
  } else if (const auto* dropped = std::get_if<LeaseDropped>(&event)) {
    OnDropped(*dropped);
  } else {
    for (const TokenEvent& token : std::get<TokensSampled>(event).tokens) OnToken(token, effects);
    if (jobs_.empty()) effects.push_back(AskForWork{room()});
  }
  return effects;
}

void WorkerCore::OnLease(const LeaseGranted& event, std::vector<WorkerEffect>& effects) {
  Job job{.lease = event.lease};
  auto task = codec_.environment().MakeTask(event.lease.task_seed);
  Check(task.has_value(), "the driver hands over leases of environments it has");
  job.task = std::move(*task);
  job.group.lease = event.lease.id;
  job.group.prompt = codec_.PromptTokens(job.task);
  job.group.rollouts.resize(event.lease.group_size);
  job.done.resize(event.lease.group_size);
  job.open = event.lease.group_size;
  held_ += event.lease.group_size;
  StartSampling ask = Ask(job, 0);
  ask.samples = event.lease.group_size;
  jobs_.emplace(event.lease.id.value, std::move(job));
  effects.push_back(std::move(ask));
}

void WorkerCore::OnDropped(const LeaseDropped& event) {
  const auto job = jobs_.find(event.lease.value);
  if (job == jobs_.end()) return;
  held_ -= job->second.lease.group_size;
  jobs_.erase(job);
  std::erase_if(lease_of_, [&](const auto& entry) { return entry.second == event.lease.value; });
}

StartSampling WorkerCore::Ask(const Job& job, std::uint32_t sample) const {
  const Rollout& rollout = job.group.rollouts[sample];
  StartSampling ask{.lease = job.lease.id, .prompt = job.group.prompt, .first_sample = sample};
  ask.prompt.insert(ask.prompt.end(), rollout.tokens.begin(), rollout.tokens.end());
  ask.options.config = job.lease.sampling;
  ask.options.config.tokens_max -= static_cast<std::uint32_t>(rollout.tokens.size());
  ask.options.key = job.lease.key;
  ask.options.stop_ids = codec_.stop_ids();
  return ask;
}

void WorkerCore::OnToken(const TokenEvent& token, std::vector<WorkerEffect>& effects) {
  const auto lease = lease_of_.find(token.request);
  if (lease == lease_of_.end()) return;  // dropped; the engine goes on for a while
  Job& job = jobs_.at(lease->second);
  Rollout& rollout = job.group.rollouts[token.sample];
  if (rollout.spans.empty() || rollout.spans.back().version != token.version) {
    rollout.spans.push_back(
        {static_cast<std::uint32_t>(rollout.tokens.size()), token.version, token.kept_kv});
  }
  rollout.tokens.push_back(token.token);
  rollout.logps.push_back(token.logp);
  rollout.loss_mask.push_back(1);
  if (!token.finish) return;
  rollout.finish = *token.finish;
  if (rollout.finish == FinishReason::kStop && ContinueEpisode(job, token.sample, effects)) return;
  job.done[token.sample] = true;
  if (--job.open > 0) return;
  held_ -= job.lease.group_size;
  effects.push_back(SubmitGroup{std::move(job.group), std::move(job.lease)});
  const std::uint64_t finished = lease->second;
  std::erase_if(lease_of_, [&](const auto& entry) { return entry.second == finished; });
  jobs_.erase(finished);
}

bool WorkerCore::ContinueEpisode(Job& job, std::uint32_t sample,
                                 std::vector<WorkerEffect>& effects) {
  Rollout& rollout = job.group.rollouts[sample];
  const auto transcript = codec_.Transcript(job.task, rollout);
  Check(transcript.has_value(), "our own token stream reads back");
  const auto turn = codec_.TurnTokens(codec_.environment().Respond(job.task, *transcript));
  const std::size_t budget = job.lease.sampling.tokens_max;
  if (turn.empty() || rollout.tokens.size() + turn.size() >= budget) return false;
  rollout.tokens.insert(rollout.tokens.end(), turn.begin(), turn.end());
  rollout.logps.resize(rollout.tokens.size(), 0.0f);
  rollout.loss_mask.resize(rollout.tokens.size(), 0);
  effects.push_back(Ask(job, sample));
  return true;
}

}  // namespace waggle
