#include "training/watch/reward_watch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "training/watch/window.h"

namespace waggle {
namespace {

constexpr std::size_t kSlopeWindows = 8;
constexpr double kSlopeErrors = 3;
constexpr std::uint32_t kGreensToUnfreeze = 2;
constexpr std::size_t kStateBytesMax = std::size_t{1} << 22;

bool ActsAlone(Signal signal) {
  return signal == Signal::kTruthGap || signal == Signal::kCanary ||
         signal == Signal::kGraderContact;
}

// Least squares through the windows that have the figure.
std::optional<Slope> SlopeOf(std::span<const WindowTrace> recent,
                             std::optional<float> WindowTrace::*figure) {
  std::vector<std::pair<double, double>> points;
  for (std::size_t i = 0; i < recent.size(); ++i)
    if (const auto& value = recent[i].*figure)
      points.emplace_back(static_cast<double>(i), static_cast<double>(*value));
  if (points.size() < kSlopeWindows) return std::nullopt;
  const auto n = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, rest = 0;
  for (const auto& [x, y] : points) mean_x += x / n, mean_y += y / n;
  for (const auto& [x, y] : points) {
    xx += (x - mean_x) * (x - mean_x);
    xy += (x - mean_x) * (y - mean_y);
  }
  const double slope = xy / xx;
  for (const auto& [x, y] : points) {
    const double off = y - mean_y - slope * (x - mean_x);
    rest += off * off;
  }
  return Slope{.per_window = slope, .error = std::sqrt(rest / (n - 2) / xx)};
}

}  // namespace

struct RewardWatch::State {
  std::uint64_t windows = 0;
  bool frozen = false, strict = false, green = true;
  std::uint32_t greens = 0;  // in a row, since the freeze
  std::vector<Observation> pending;
  std::vector<WindowTrace> base, recent;
  std::vector<std::uint8_t> levels = std::vector<std::uint8_t>(kSignals, 0);
};

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, RewardWatch::State>
void Fields(T& x, V&& v) {
  v(1, "windows", x.windows);
  v(2, "frozen", x.frozen);
  v(3, "strict", x.strict);
  v(4, "green", x.green);
  v(5, "greens", x.greens);
  v.Structs(6, "pending", x.pending, kWatchWindow);
  v.Structs(7, "base", x.base, kBaseWindows);
  v.Structs(8, "recent", x.recent, kSlopeWindows);
  v.Numbers(9, "levels", x.levels, kSignals);
}

const char* ToString(Level level) {
  constexpr const char* kNames[] = {"green", "amber", "red"};
  return kNames[static_cast<int>(level)];
}
const char* ToString(Signal signal) {
  constexpr const char* kNames[] = {"truth_gap",  "canary",         "length",         "repetition",
                                    "diversity",  "unscorable",     "grader_contact", "kl_budget",
                                    "judge_bias", "ensemble_spread"};
  return kNames[static_cast<int>(signal)];
}
const char* ToString(WatchAction action) {
  constexpr const char* kNames[] = {"double_audits", "post_event", "freeze",  "roll_back",
                                    "strict",        "open_item",  "unfreeze"};
  return kNames[static_cast<int>(action)];
}

RewardWatch::RewardWatch() : state_(std::make_unique<State>()) {}
RewardWatch::~RewardWatch() = default;
RewardWatch::RewardWatch(RewardWatch&&) noexcept = default;
RewardWatch& RewardWatch::operator=(RewardWatch&&) noexcept = default;

bool RewardWatch::frozen() const { return state_->frozen; }
bool RewardWatch::strict() const { return state_->strict; }
bool RewardWatch::green() const { return state_->green && !state_->frozen; }

std::vector<WindowReport> RewardWatch::Observe(std::span<const Observation> rollouts) {
  std::vector<WindowReport> reports;
  for (const Observation& rollout : rollouts) {
    Check(rollout.members.size() <= kMembersMax, "an ensemble of few members");
    state_->pending.push_back(rollout);
    if (state_->pending.size() < kWatchWindow) continue;
    WindowTrace trace = TraceOf(state_->pending);
    if (state_->base.size() < kBaseWindows) state_->base.push_back(trace);
    if (state_->recent.size() == kSlopeWindows) state_->recent.erase(state_->recent.begin());
    state_->recent.push_back(std::move(trace));

    WindowReport report{.window = state_->windows++};
    report.signals = ReadSignals(state_->pending, state_->base, state_->recent);
    report.proxy = state_->recent.back().proxy.value_or(0);
    report.held_out = state_->recent.back().held_out.value_or(0);
    report.proxy_slope = SlopeOf(state_->recent, &WindowTrace::proxy);
    report.held_out_slope = SlopeOf(state_->recent, &WindowTrace::held_out);
    state_->pending.clear();
    report.actions = Act(report);
    reports.push_back(std::move(report));
  }
  return reports;
}

std::vector<WatchAction> RewardWatch::Act(WindowReport& report) {
  const auto &proxy = report.proxy_slope, &truth = report.held_out_slope;
  const bool diverging =
      proxy && truth && proxy->per_window > kSlopeErrors * proxy->error && truth->per_window <= 0;
  bool rose = false;
  for (std::size_t i = 0; i < kSignals; ++i) {
    const auto signal = static_cast<Signal>(i);
    const Level level = report.signals[i].level;
    rose = rose || static_cast<std::uint8_t>(level) > state_->levels[i];
    state_->levels[i] = static_cast<std::uint8_t>(level);
    if (level == Level::kGreen) continue;
    report.level = std::max(report.level, Level::kAmber);
    if (ActsAlone(signal)) report.green = false;
    if (level == Level::kRed && (ActsAlone(signal) || diverging)) {
      report.level = Level::kRed;
      if (!report.cause) report.cause = signal;
    }
  }
  report.green = report.green && report.level != Level::kRed;
  state_->green = report.green;

  std::vector<WatchAction> actions;
  if (report.level != Level::kGreen) actions.push_back(WatchAction::kDoubleAudits);
  if (report.level == Level::kRed && !state_->frozen) {
    state_->frozen = state_->strict = true;
    state_->greens = 0;
    state_->recent.clear();  // of weights that are gone
    actions.insert(actions.end(),
                   {WatchAction::kPostEvent, WatchAction::kFreeze, WatchAction::kRollBack,
                    WatchAction::kStrict, WatchAction::kOpenItem});
    return actions;
  }
  if (state_->frozen) {
    state_->greens = report.green ? state_->greens + 1 : 0;
    if (state_->greens >= kGreensToUnfreeze) {
      state_->frozen = false;
      actions.insert(actions.end(), {WatchAction::kPostEvent, WatchAction::kUnfreeze});
      return actions;
    }
  }
  if (rose) actions.push_back(WatchAction::kPostEvent);
  return actions;
}

Bytes RewardWatch::Save() const { return WireEncode(*state_, kStateBytesMax); }

Result<RewardWatch> RewardWatch::Load(std::span<const std::uint8_t> bytes) {
  auto state = WireDecode<State>(bytes, kStateBytesMax);
  if (!state) return Fail(Blame::kMachine, "the watch's state: {}", state.error().what);
  if (state->levels.size() != kSignals || state->pending.size() >= kWatchWindow)
    return Fail(Blame::kMachine, "the watch's state does not hold together");
  RewardWatch watch;
  *watch.state_ = std::move(*state);
  return watch;
}

}  // namespace waggle
