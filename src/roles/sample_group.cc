#include "roles/sample_group.h"

#include <map>
#include <utility>

#include "base/check.h"

namespace waggle {
namespace {

// A worker and its engine, until every lease has its group.
class Sampler {
 public:
  Sampler(const TaskCodec& codec, std::uint32_t rollouts, Engine& engine,
          const AskOtherwise& otherwise)
      : worker_(codec, rollouts), engine_(engine), otherwise_(otherwise) {}

  // The worker's answer to one event; what that leads to is to be told it next.
  Result<std::vector<WorkerEvent>> Tell(const WorkerEvent& event);
  Result<WorkerEvent> Next();
  std::map<std::uint64_t, Group> groups;  // by lease

 private:
  WorkerCore worker_;
  Engine& engine_;
  const AskOtherwise& otherwise_;
  // Who asked for other sample numbers gets its answers under those that the worker knows.
  std::map<RequestId, std::pair<std::uint32_t, std::uint32_t>> renumbered_;  // asked, expected
};

Result<std::vector<WorkerEvent>> Sampler::Tell(const WorkerEvent& event) {
  std::vector<WorkerEvent> next;
  for (WorkerEffect& effect : worker_.Step(event)) {
    if (auto* start = std::get_if<StartSampling>(&effect)) {
      const std::uint32_t expected = start->first_sample;
      if (otherwise_) otherwise_(*start);
      WG_ASSIGN(const RequestId request,
                engine_.Submit(start->prompt, start->samples, start->options, start->first_sample));
      renumbered_[request] = {start->first_sample, expected};
      next.push_back(SamplingStarted{start->lease, expected, request});
    } else if (auto* submit = std::get_if<SubmitGroup>(&effect)) {
      groups.emplace(submit->lease.id.value, std::move(submit->group));
    }
  }
  return next;
}

Result<WorkerEvent> Sampler::Next() {
  if (engine_.idle()) return Fail(Blame::kMachine, "the engine stopped before the groups did");
  std::vector<TokenEvent> tokens = engine_.Step();
  for (TokenEvent& token : tokens) {
    const auto [asked, expected] = renumbered_.at(token.request);
    token.sample = token.sample - asked + expected;
    if (token.finish == FinishReason::kAborted)
      return Fail(Blame::kMachine, "weights whose logits are no numbers");
  }
  return WorkerEvent(TokensSampled{std::move(tokens)});
}

}  // namespace

Result<std::vector<Group>> SampleGroups(const TaskCodec& codec, const std::vector<Lease>& leases,
                                        std::shared_ptr<const Model> model, PolicyVersion version,
                                        const EngineConfig& config, ThreadPool& pool,
                                        const AskOtherwise& otherwise) {
  Engine engine(std::move(model), version, config, pool);
  std::uint32_t rollouts = 0;
  std::vector<WorkerEvent> events;
  for (const Lease& lease : leases) {
    rollouts += lease.group_size;
    events.push_back(LeaseGranted{lease});
  }
  Sampler sampler(codec, rollouts, engine, otherwise);
  while (sampler.groups.size() < leases.size()) {
    std::vector<WorkerEvent> next;
    for (const WorkerEvent& event : events) {
      WG_ASSIGN(const std::vector<WorkerEvent> more, sampler.Tell(event));
      next.insert(next.end(), more.begin(), more.end());
    }
    if (next.empty() && sampler.groups.size() < leases.size()) {
      WG_ASSIGN(WorkerEvent sampled, sampler.Next());
      next.push_back(std::move(sampled));
    }
    events = std::move(next);
  }
  std::vector<Group> groups;
  for (const Lease& lease : leases) groups.push_back(std::move(sampler.groups.at(lease.id.value)));
  return groups;
}

Result<Group> SampleGroup(const TaskCodec& codec, const Lease& lease,
                          std::shared_ptr<const Model> model, PolicyVersion version,
                          const EngineConfig& config, ThreadPool& pool,
                          const AskOtherwise& otherwise) {
  WG_ASSIGN(auto groups,
            SampleGroups(codec, {lease}, std::move(model), version, config, pool, otherwise));
  return std::move(groups.front());
}

}  // namespace waggle
