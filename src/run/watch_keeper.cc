#include "run/watch_keeper.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::uint64_t kLocalWorker = 1;
constexpr std::size_t kStateBytesMax = std::size_t{1} << 23;

struct Kept {
  std::uint64_t green_version = 0;
  std::optional<float> kl;
  std::vector<std::uint8_t> watch;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Kept>
void Fields(T& x, V&& v) {
  v(1, "green_version", x.green_version);
  v(2, "kl", x.kl);
  v.Numbers(3, "watch", x.watch, kStateBytesMax);
}

bool Does(const WindowReport& report, WatchAction action) {
  return std::ranges::find(report.actions, action) != report.actions.end();
}

std::optional<float> Narrow(const std::optional<double>& value) {
  return value ? std::optional<float>(static_cast<float>(*value)) : std::nullopt;
}

// Of the sampled tokens: minus the mean log-prob is the policy's entropy, on average.
std::optional<float> EntropyOf(const Rollout& rollout) {
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < rollout.tokens.size(); ++i) {
    if (rollout.loss_mask[i] == 0) continue;
    sum -= rollout.logps[i];
    ++count;
  }
  if (count == 0) return std::nullopt;
  return static_cast<float>(sum / static_cast<double>(count));
}

nlohmann::ordered_json EventOf(const WindowReport& report, std::uint64_t step) {
  nlohmann::ordered_json row = {{"step", step},
                                {"window", report.window},
                                {"level", ToString(report.level)},
                                {"proxy", report.proxy},
                                {"held_out", report.held_out}};
  if (report.cause) row["cause"] = ToString(*report.cause);
  for (std::size_t i = 0; i < kSignals; ++i) {
    const Reading& reading = report.signals[i];
    if (reading.level == Level::kGreen) continue;
    auto& said = row["signals"][ToString(static_cast<Signal>(i))];
    said["level"] = ToString(reading.level);
    if (reading.value) said["value"] = *reading.value;
    if (reading.second) said["second"] = *reading.second;
  }
  for (const WatchAction action : report.actions) row["actions"].push_back(ToString(action));
  return row;
}

void MakeStrict(TrainOn& batch) {
  const bool graded = std::ranges::any_of(batch.groups, [](const ScoredGroup& scored) {
    return std::ranges::any_of(scored.held_out, [](const auto& word) { return word.has_value(); });
  });
  if (!graded) return;  // nothing here is stricter than the reward
  for (ScoredGroup& scored : batch.groups) {
    scored.rewards = scored.held_out;
    scored.components.clear();
    for (const auto& reward : scored.held_out) scored.components.push_back({reward});
    scored.weights = {1.0};
  }
}

}  // namespace

std::vector<Observation> ObservationsOf(const TrainOn& batch, const TaskCodec& codec,
                                        std::optional<float> kl) {
  std::vector<Observation> observations;
  for (std::size_t g = 0; g < batch.groups.size(); ++g) {
    const ScoredGroup& scored = batch.groups[g];
    for (std::size_t i = 0; i < scored.group.rollouts.size(); ++i) {
      const Rollout& rollout = scored.group.rollouts[i];
      const std::string text = codec.Text(rollout.tokens);
      Observation seen{.task = batch.leases[g].task_seed, .worker = kLocalWorker};
      seen.answer = Fnv1a64(std::as_bytes(std::span(text)));
      seen.proxy = Narrow(scored.rewards[i]);
      seen.held_out = Narrow(scored.held_out[i]);
      seen.solved = scored.correct[i];
      seen.canary = scored.canary[i];
      seen.grader_contact = scored.grader_contact[i];
      seen.tokens = static_cast<std::uint32_t>(rollout.tokens.size());
      seen.repeated = RepeatedShare(rollout.tokens);
      seen.compress = CompressRatio(text);
      seen.entropy = EntropyOf(rollout);
      seen.kl = kl;
      observations.push_back(std::move(seen));
    }
  }
  return observations;
}

void AddScalars(const WindowReport& report, bool strict,
                std::vector<std::pair<std::string, double>>& scalars) {
  scalars.emplace_back("watch/proxy", report.proxy);
  scalars.emplace_back("watch/held_out", report.held_out);
  if (const auto gap = report[Signal::kTruthGap].value)
    scalars.emplace_back("watch/truth_gap", *gap);
  scalars.emplace_back("watch/level", static_cast<double>(report.level));
  scalars.emplace_back("watch/strict", strict ? 1.0 : 0.0);
}

bool WatchKeeper::red() const { return newest_ && Does(*newest_, WatchAction::kRollBack); }

WatchKeeper::Look WatchKeeper::LookAt(TrainOn& batch, const TaskCodec& codec) {
  Look look;
  const std::uint64_t step = batch.batch + 1;
  for (WindowReport& report : watch_.Observe(ObservationsOf(batch, codec, kl_))) {
    const bool back = recipe_.act && Does(report, WatchAction::kRollBack);
    if (back) look.roll_back_to = green_version_;
    if (Does(report, WatchAction::kPostEvent)) {
      auto row = EventOf(report, step);
      if (back) row["rolled_back_to"] = green_version_;
      look.events.push_back(row.dump());
    }
    if (Does(report, WatchAction::kRollBack))
      look.lines.push_back(
          fmt::format("step {:>5}  RED: {} (reward {:.3f}, held-out {:.3f}){}", step,
                      ToString(*report.cause), report.proxy, report.held_out,
                      back ? fmt::format("; back to step {}, strict reward", green_version_) : ""));
    if (Does(report, WatchAction::kUnfreeze) && recipe_.act)
      look.lines.push_back(fmt::format("step {:>5}  green again: training goes on", step));
    newest_ = std::move(report);
  }
  if (!recipe_.act) return look;
  if (look.roll_back_to) kl_.reset();
  // What was sampled before the trainer went back teaches nothing either, even if a freeze began
  // and ended in one batch.
  if (watch_.frozen() || look.roll_back_to) {
    batch.groups.clear();
    batch.leases.clear();
  } else if (watch_.strict()) {
    MakeStrict(batch);
  }
  return look;
}

void WatchKeeper::Stepped(const StepReport& report,
                          std::vector<std::pair<std::string, double>>& scalars) {
  const double kl = report.metrics.kl_reference_k3;
  if (kl > 0) kl_ = static_cast<float>(kl);  // 0: no reference is kept
  if (newest_) AddScalars(*newest_, recipe_.act && watch_.strict(), scalars);
}

void WatchKeeper::Checkpointed(std::uint64_t version) {
  if (watch_.green()) green_version_ = version;
}

std::string WatchKeeper::Save() const {
  const Bytes bytes = WireEncode(Kept{green_version_, kl_, watch_.Save()}, kStateBytesMax + 1024);
  return {bytes.begin(), bytes.end()};
}

Status WatchKeeper::Load(const std::string& state) {
  const auto kept =
      WireDecode<Kept>(std::span(reinterpret_cast<const std::uint8_t*>(state.data()), state.size()),
                       kStateBytesMax + 1024);
  if (!kept) return Fail(Blame::kMachine, "the watch's state: {}", kept.error().what);
  WG_ASSIGN(watch_, RewardWatch::Load(kept->watch));
  green_version_ = kept->green_version;
  kl_ = kept->kl;
  return {};
}

}  // namespace waggle
