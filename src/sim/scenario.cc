#include "sim/scenario.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace waggle {
namespace {

constexpr FaultDoc kFaults[] = {
    {FaultKind::kKill, "kill", "for=S: back after so long; without, a volunteer never is", true,
     true},
    {FaultKind::kCrashLoop, "crash-loop", "every=S for=S: dies again and again", false, true},
    {FaultKind::kCut, "cut", "for=S: the link breaks, and nobody gets through meanwhile", false,
     true},
    {FaultKind::kHalfCut, "half-cut", "the link breaks and the host is not told", false, true},
    {FaultKind::kStall, "stall", "for=S: nothing arrives, then everything", false, true},
    {FaultKind::kLag, "lag", "for=S ms=N: so much more latency", false, true},
    {FaultKind::kFlap, "flap", "every=S for=S: the link breaks again and again", false, true},
    {FaultKind::kSlow, "slow", "for=S times=N: so many times slower", false, true},
    {FaultKind::kDiskFull, "disk-full", "for=S: nothing can be written by the host", true, false},
    {FaultKind::kDiskError, "disk-error", "the host's next write fails", true, false},
    {FaultKind::kTorn, "torn",
     "for=S: the host loses power; half of its newest checkpoint is gone when it is back", true,
     false},
    {FaultKind::kCrashWrite, "crash-write",
     "for=S: the host dies while it writes its next outcome, before or after it is on disk", true,
     false},
    {FaultKind::kClockJump, "clock-jump", "by=S: somebody sets the wall clock", true, true},
    {FaultKind::kSkew, "skew", "ppm=N: the clock is so much too fast, from its next start on", true,
     true},
    {FaultKind::kFlood, "flood", "for=S joins=N: newcomers that join, ask and are gone", false,
     false},
    {FaultKind::kSilent, "silent", "for=S links=N: strangers that connect and say nothing", false,
     false},
    {FaultKind::kRogue, "rogue",
     "for=S nodes=N: strangers who speak the protocol and abuse every part of it", false, false},
    {FaultKind::kLie, "lie",
     "for=S how=logps|tokens|prompt|spans|short|garbage: what a liar hands in", false, true},
    {FaultKind::kRepeat, "repeat", "for=S: says everything twice", false, true},
    {FaultKind::kNoise, "noise", "every=S for=S: sends bytes that mean nothing", false, true},
    {FaultKind::kForge, "forge", "for=S: the weights that it fetches are not the host's", false,
     true},
    {FaultKind::kLate, "late", "joins only now", false, true},
    {FaultKind::kLeave, "leave", "drains and leaves", false, true},
};

const FaultDoc* FindFault(std::string_view name) {
  for (const FaultDoc& doc : kFaults) {
    if (name == doc.name) return &doc;
  }
  return nullptr;
}

const FaultDoc& DocOf(FaultKind kind) { return kFaults[static_cast<std::size_t>(kind)]; }

const char* AmountWord(FaultKind kind) {
  switch (kind) {
    case FaultKind::kSlow:
      return "times";
    case FaultKind::kLag:
      return "ms";
    case FaultKind::kClockJump:
      return "by";
    case FaultKind::kSkew:
      return "ppm";
    case FaultKind::kFlood:
      return "joins";
    case FaultKind::kSilent:
      return "links";
    case FaultKind::kRogue:
      return "nodes";
    default:
      return nullptr;
  }
}

template <class T>
std::optional<T> Number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status SetWord(SimFault& fault, std::string_view key, std::string_view value) {
  const auto wrong = [&] {
    return Fail(Blame::kOperator, "'{}={}' is not understood", key, value);
  };
  if (key == "worker") {
    if (value == "all") {
      fault.target = SimFault::kAll;
      return {};
    }
    const auto index = Number<std::uint32_t>(value);
    if (!index || *index >= 1'000'000) return wrong();
    fault.target = *index;
    return {};
  }
  if (key == "how") {
    if (std::find(kLies.values.begin(), kLies.values.end(), value) == kLies.values.end())
      return wrong();
    fault.how = value;
    return {};
  }
  if (key == "at" || key == "for" || key == "every") {
    const auto seconds = Number<double>(value);
    if (!seconds || !(*seconds >= 0 && *seconds < 1e8)) return wrong();
    // Whole milliseconds, so that the text of a fault says all of it.
    const auto time = static_cast<Micros>(*seconds * 1e3 + 0.5) * kMilli;
    (key == "at" ? fault.at : key == "for" ? fault.lasts : fault.every) = time;
    return {};
  }
  const char* word = AmountWord(fault.kind);
  const auto amount = Number<std::int64_t>(value);
  if (word == nullptr || key != word || !amount || *amount < -1'000'000 || *amount > 1'000'000)
    return wrong();
  fault.amount = *amount;
  return {};
}

Status CheckFault(const SimFault& fault) {
  const FaultDoc& doc = DocOf(fault.kind);
  const bool names_worker = fault.target < SimFault::kNobody || fault.target == SimFault::kAll;
  if (fault.target == SimFault::kHost ? !doc.host : names_worker && !doc.worker)
    return Fail(Blame::kOperator, "this is not for whom it names");
  if (doc.worker && fault.target == SimFault::kNobody)
    return Fail(Blame::kOperator, "say whom it is for{}: worker=N or worker=all",
                doc.host ? ", host," : "");
  const bool repeats = fault.kind == FaultKind::kCrashLoop || fault.kind == FaultKind::kFlap ||
                       fault.kind == FaultKind::kNoise;
  if (repeats && (fault.every < 10 * kMilli || fault.lasts == 0))
    return Fail(Blame::kOperator, "say how often (every=S, 0.01 or more) and how long (for=S)");
  if (AmountWord(fault.kind) != nullptr && fault.amount == 0)
    return Fail(Blame::kOperator, "say how much: {}=N", AmountWord(fault.kind));
  if (AmountWord(fault.kind) != nullptr && fault.amount < 0 &&
      fault.kind != FaultKind::kClockJump && fault.kind != FaultKind::kSkew)
    return Fail(Blame::kOperator, "{} is not negative", AmountWord(fault.kind));
  if (fault.kind == FaultKind::kLie && fault.how.empty())
    return Fail(Blame::kOperator, "say how it lies: how=...");
  return {};
}

}  // namespace

std::span<const FaultDoc> FaultDocs() { return kFaults; }

Result<SimFault> ParseFault(std::string_view line) {
  SimFault fault;
  const FaultDoc* doc = nullptr;
  const auto fail = [&](std::string_view why) {
    return Fail(Blame::kOperator, "fault '{}': {}", line, why);
  };
  std::string_view rest = line;
  while (!rest.empty()) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, space);
    rest.remove_prefix(std::min(space + 1, rest.size()));
    if (word.empty()) continue;
    const std::size_t equals = word.find('=');
    if (doc == nullptr) {
      doc = FindFault(word);
      if (doc == nullptr) return fail("there is no such kind; docs/simulator.md lists them");
      fault.kind = doc->kind;
    } else if (word == "host") {
      fault.target = SimFault::kHost;
    } else if (equals == std::string_view::npos) {
      return fail(fmt::format("'{}' is not of the form key=value", word));
    } else if (const Status set = SetWord(fault, word.substr(0, equals), word.substr(equals + 1));
               !set) {
      return fail(set.error().what);
    }
  }
  if (doc == nullptr) return fail("it is empty");
  if (doc->host && !doc->worker && fault.target == SimFault::kNobody)
    fault.target = SimFault::kHost;  // whose else
  if (const Status status = CheckFault(fault); !status) return fail(status.error().what);
  return fault;
}

std::string ToText(const SimFault& fault) {
  std::string text = DocOf(fault.kind).name;
  const auto seconds = [&](const char* word, Micros time) {
    if (time == 0) return;
    text += fmt::format(" {}={}", word, time / kSecond);
    if (time % kSecond != 0) text += fmt::format(".{:03}", time % kSecond / kMilli);
  };
  if (fault.target == SimFault::kHost)
    text += " host";
  else if (fault.target == SimFault::kAll)
    text += " worker=all";
  else if (fault.target != SimFault::kNobody)
    text += fmt::format(" worker={}", fault.target);
  seconds("at", fault.at);
  seconds("for", fault.lasts);
  seconds("every", fault.every);
  if (const char* word = AmountWord(fault.kind)) text += fmt::format(" {}={}", word, fault.amount);
  if (!fault.how.empty()) text += " how=" + fault.how;
  return text;
}

namespace {

// "kill host" is a kind of its own, so that a scenario can leave the host in peace.
Result<SimFault> FaultOfKind(std::string_view kind) {
  const FaultDoc* doc = FindFault(kind.substr(0, kind.find(' ')));
  const bool on_host = kind.ends_with(" host");
  if (doc == nullptr || (on_host && !doc->host))
    return Fail(Blame::kOperator, "chaos.kinds: '{}' is no kind of fault", kind);
  const bool whose = on_host || (doc->host && !doc->worker);
  return SimFault{.kind = doc->kind, .target = whose ? SimFault::kHost : SimFault::kNobody};
}

// Within the scenario's bounds, whatever else the kind wants to know.
void Draw(const Scenario& scenario, SimFault& fault, Rng& rng) {
  const ChaosSettings& chaos = scenario.chaos;
  const auto between = [&](std::uint64_t low, std::uint64_t high) {
    return low + rng.Below(static_cast<std::uint32_t>(std::max(low, high) - low + 1));
  };
  fault.at = between(chaos.from_s * 1000, chaos.until_s * 1000) * kMilli;
  fault.lasts = between(200, chaos.lasts_s_max * 1000) * kMilli;
  fault.every = between(500, 5'000) * kMilli;
  fault.how = kLies.values[rng.Below(static_cast<std::uint32_t>(kLies.values.size()))];
  const std::uint32_t worker = rng.Below(scenario.crowd.workers);
  const bool wide = rng.Below(8) == 0;
  const std::uint32_t size = 2 + rng.Below(60);
  if (DocOf(fault.kind).worker && fault.target != SimFault::kHost)
    fault.target = wide && fault.kind != FaultKind::kKill && fault.kind != FaultKind::kLeave
                       ? SimFault::kAll
                       : worker;
  // Somebody stays to do the work.
  if (fault.kind == FaultKind::kLeave && fault.target == 0)
    fault.target = scenario.crowd.workers > 1 ? 1 : SimFault::kNobody;
  if (AmountWord(fault.kind) != nullptr) fault.amount = size;
  if (fault.kind == FaultKind::kLag) fault.amount = size * 20;
  if (fault.kind == FaultKind::kClockJump) fault.amount = wide ? 86'400 : -86'400;
  if (fault.kind != FaultKind::kLie) fault.how.clear();
  const bool repeats = fault.kind == FaultKind::kCrashLoop || fault.kind == FaultKind::kFlap ||
                       fault.kind == FaultKind::kNoise;
  if (!repeats) fault.every = 0;
}

}  // namespace

Result<Scenario> ReadScenario(std::string_view text, const std::string& file_name,
                              const std::vector<std::string>& overrides) {
  Scenario scenario;
  WG_TRY(ReadToml(text, file_name, scenario));
  for (const std::string& setting : overrides) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos)
      return Fail(Blame::kOperator, "'{}' is not of the form key=value", setting);
    WG_TRY(Override(scenario, setting.substr(0, equals), setting.substr(equals + 1)));
  }
  for (const std::string& line : scenario.faults) {
    WG_ASSIGN(const SimFault fault, ParseFault(line));
    if (fault.target < SimFault::kNobody && fault.target >= scenario.crowd.workers)
      return Fail(Blame::kOperator, "fault '{}': there are {} workers, from 0 on", line,
                  scenario.crowd.workers);
  }
  for (const std::string& kind : scenario.chaos.kinds) WG_TRY(FaultOfKind(kind));
  if (scenario.chaos.kinds.empty() && scenario.chaos.faults > 0)
    return Fail(Blame::kOperator, "chaos.kinds is empty");
  const HostScenario& host = scenario.host;
  if (host.deadline_ms_min > host.deadline_ms_max)
    return Fail(Blame::kOperator, "host.deadline_ms_min is above deadline_ms_max");
  return scenario;
}

Schedule ScheduleOf(const Scenario& scenario, std::uint64_t seed) {
  Schedule schedule;
  schedule.workers.resize(scenario.crowd.workers);
  std::iota(schedule.workers.begin(), schedule.workers.end(), 0u);
  for (const std::string& line : scenario.faults)
    schedule.faults.push_back(ParseFault(line).value());
  Rng rng(seed, /*stream=*/0x5c4ed);
  for (std::uint32_t i = 0; i < scenario.chaos.faults; ++i) {
    const auto& kinds = scenario.chaos.kinds;
    SimFault fault =
        FaultOfKind(kinds[rng.Below(static_cast<std::uint32_t>(kinds.size()))]).value();
    Draw(scenario, fault, rng);
    schedule.faults.push_back(std::move(fault));
  }
  return schedule;
}

Recipe RecipeOf(const Scenario& scenario, std::uint64_t seed) {
  const RunSettings& run = scenario.run;
  Recipe recipe;
  recipe.name = "sim";
  recipe.seed = seed >> 1;  // a recipe's seeds are below 2^63
  recipe.checkpoint_every = run.checkpoint_every;
  recipe.environment.name = "copy";
  recipe.sampling.tokens_max = run.text_length + 2;
  recipe.orchestrator.steps = run.steps;
  recipe.orchestrator.groups_per_step = run.groups_per_step;
  recipe.orchestrator.group_size = run.group_size;
  recipe.orchestrator.ahead = run.ahead;
  recipe.orchestrator.batches = run.batches;
  recipe.orchestrator.lag_versions_max = run.lag_versions_max;
  recipe.evaluation.tasks = run.evaluation_tasks;
  recipe.evaluation.every = run.evaluation_every;
  return recipe;
}

HostSettings HostSettingsOf(const Scenario& scenario) {
  const HostScenario& host = scenario.host;
  HostSettings settings{.software = "sim", .heartbeat_ms = host.heartbeat_ms};
  LeaseBookSettings& leases = settings.leases;
  leases.target_ms = host.target_ms;
  leases.deadline_ms_min = host.deadline_ms_min;
  leases.deadline_ms_max = host.deadline_ms_max;
  leases.grace_ms = host.grace_ms;
  leases.silence_ms_max = host.silence_ms_max;
  leases.wait_ms_max = host.wait_ms_max;
  leases.hold_off_ms_min = host.hold_off_ms_min;
  leases.hold_off_ms_max = host.hold_off_ms_max;
  leases.workers_max = host.workers_max;
  leases.tokens_per_rollout = scenario.run.text_length + 1;
  return settings;
}

}  // namespace waggle
