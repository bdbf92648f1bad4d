// A scenario: a run, a crowd, a network between them, and what goes wrong. One visited struct, read
// from TOML; faults are lines of text, so that a schedule can be printed, cut down and typed in.
// Times in scenarios are seconds for faults and milliseconds for settings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "host/host_core.h"
#include "run/recipe.h"

namespace waggle {

using Micros = std::uint64_t;  // of virtual time, from the start of the simulation
inline constexpr Micros kMilli = 1'000, kSecond = 1'000'000;

enum class FaultKind : std::uint8_t {
  kKill,
  kCrashLoop,
  kCut,
  kHalfCut,
  kStall,
  kLag,
  kFlap,
  kSlow,
  kDiskFull,
  kDiskError,
  kTorn,
  kCrashWrite,
  kClockJump,
  kSkew,
  kFlood,
  kSilent,
  kRogue,
  kLie,
  kRepeat,
  kNoise,
  kForge,
  kLate,
  kLeave,
};

struct FaultDoc {
  FaultKind kind;
  const char* name;
  const char* words;  // that it takes beside at=, with what they mean
  bool host, worker;  // whom it may name
};
std::span<const FaultDoc> FaultDocs();

// What a liar hands in instead of what its lease asks for.
inline const OneOf kLies{"logps", "tokens", "prompt", "spans", "short", "garbage"};

// "kill host at=300 for=10", "slow worker=4 times=50", "cut worker=all at=60 for=5".
struct SimFault {
  static constexpr std::uint32_t kHost = ~0u, kAll = ~0u - 1, kNobody = ~0u - 2;

  FaultKind kind = FaultKind::kKill;
  std::uint32_t target = kNobody;  // a worker's index, or one of the above
  Micros at = 0, lasts = 0, every = 0;
  std::int64_t amount = 0;  // times=, ms=, by=, ppm=, joins=, links=, nodes=
  std::string how;          // lie

  bool operator==(const SimFault&) const = default;
};
Result<SimFault> ParseFault(std::string_view line);
std::string ToText(const SimFault& fault);  // ParseFault() gives it back

struct CrowdSettings {
  std::uint32_t workers = 4, tokens_per_second = 40, spread_percent = 0, rollouts_max = 16;
  std::uint32_t tick_ms = 250, start_ms = 1000;
  std::string signatures = "ed25519";

  template <class V>
  void Visit(V&& v) {
    v("workers", workers, Range<std::uint32_t>{1, 1'000'000}, "Honest volunteers.");
    v("tokens_per_second", tokens_per_second, Range<std::uint32_t>{1, 1'000'000},
      "Speed of a volunteer.");
    v("spread_percent", spread_percent, Range<std::uint32_t>{0, 95},
      "Speeds differ by up to this much, either way.");
    v("rollouts_max", rollouts_max, Range<std::uint32_t>{1, 1024},
      "Rollouts that a volunteer holds at once.");
    v("tick_ms", tick_ms, Range<std::uint32_t>{1, 60'000}, "Between two looks at its own clock.");
    v("start_ms", start_ms, Range<std::uint32_t>{0, 3'600'000}, "All have started after this.");
    v("signatures", signatures, OneOf{"ed25519", "cheap"},
      "\"cheap\": a keyed hash instead of Ed25519, for big crowds.");
  }
};

struct RunSettings {
  std::uint64_t steps = 6, ahead = 0, lag_versions_max = 4, checkpoint_every = 2;
  std::uint32_t groups_per_step = 4, group_size = 4, text_length = 4;
  std::uint64_t evaluation_tasks = 0, evaluation_every = 0;
  std::uint32_t snapshot_every = 3, train_ms = 500, policy_kib = 64;
  std::string batches = "wave";

  template <class V>
  void Visit(V&& v) {
    v("steps", steps, Range<std::uint64_t>{1, 1'000'000}, "Training batches.");
    v("groups_per_step", groups_per_step, Range<std::uint32_t>{1, 65'536}, "Groups per batch.");
    v("group_size", group_size, Range<std::uint32_t>{1, 1024}, "Rollouts per group.");
    v("text_length", text_length, Range<std::uint32_t>{1, 64},
      "Characters of the text to be copied: about the tokens of a rollout.");
    v("ahead", ahead, Range<std::uint64_t>{0, 64}, "Batches sampled ahead of the trainer.");
    v("batches", batches, OneOf{"wave", "arrival"},
      "A batch is a wave of leases, or the groups that came first.");
    v("lag_versions_max", lag_versions_max, Range<std::uint64_t>{0, 1024},
      "Oldest policy that a rollout may come from.");
    v("checkpoint_every", checkpoint_every, Range<std::uint64_t>{1, 1'000'000},
      "Steps between checkpoints.");
    v("evaluation_tasks", evaluation_tasks, Range<std::uint64_t>{0, 100'000},
      "Held-out tasks per evaluation.");
    v("evaluation_every", evaluation_every, Range<std::uint64_t>{0, 1'000'000},
      "Steps between evaluations; 0: at start and end only.");
    v("snapshot_every", snapshot_every, Range<std::uint32_t>{1, 10'000},
      "Steps between snapshots of the policy; deltas in between.");
    v("train_ms", train_ms, Range<std::uint32_t>{0, 3'600'000}, "How long a step takes.");
    v("policy_kib", policy_kib, Range<std::uint32_t>{1, 1u << 24},
      "Size of a snapshot on the line; a delta is a sixteenth.");
  }
};

struct NetworkSettings {
  std::uint32_t latency_ms = 20, jitter_ms = 5, kib_per_second = 1024, retransmit_ms = 300;
  double loss = 0, breaks_per_hour = 0;
  std::uint32_t connections_max = 256, connections_per_address_max = 16;
  std::uint32_t first_frame_ms_max = 10'000, idle_ms_max = 120'000, outbound_kib_max = 65'536;
  std::uint64_t nat_forgets_ms = 0;

  template <class V>
  void Visit(V&& v) {
    v("latency_ms", latency_ms, Range<std::uint32_t>{0, 60'000}, "One way.");
    v("jitter_ms", jitter_ms, Range<std::uint32_t>{0, 60'000}, "Up to this much more, per frame.");
    v("kib_per_second", kib_per_second, Range<std::uint32_t>{1, 1u << 24},
      "Of each volunteer's line, each way.");
    v("loss", loss, Range<double>{0, 0.9},
      "Chance that a frame is lost on the way and comes after retransmit_ms.");
    v("retransmit_ms", retransmit_ms, Range<std::uint32_t>{1, 60'000}, "Price of a loss.");
    v("breaks_per_hour", breaks_per_hour, Range<double>{0, 10'000},
      "How often a link breaks by itself.");
    v("nat_forgets_ms", nat_forgets_ms, Range<std::uint64_t>{0, 3'600'000},
      "A NAT between forgets links that are silent for so long; neither end is told. 0: none.");
    v("connections_max", connections_max, Range<std::uint32_t>{1, 1'000'000},
      "Conversations of the host, as in net/limits.h.");
    v("connections_per_address_max", connections_per_address_max, Range<std::uint32_t>{1, 65'536},
      "Of them, from one address.");
    v("first_frame_ms_max", first_frame_ms_max, Range<std::uint32_t>{1, 3'600'000},
      "The host hangs up on who says nothing for this long at first.");
    v("idle_ms_max", idle_ms_max, Range<std::uint32_t>{1, 3'600'000}, "And later.");
    v("outbound_kib_max", outbound_kib_max, Range<std::uint32_t>{1, 1u << 24},
      "The host hangs up on who does not take this much.");
  }
};

struct HostScenario {
  std::uint32_t heartbeat_ms = 5'000, tick_ms = 250, restart_ms = 3'000, commit_ms = 2;
  std::uint64_t target_ms = 30'000, deadline_ms_min = 10'000, deadline_ms_max = 120'000,
                grace_ms = 600'000, silence_ms_max = 30'000, wait_ms_max = 60'000,
                hold_off_ms_min = 1'000, hold_off_ms_max = 600'000;
  std::uint32_t workers_max = 4096;

  template <class V>
  void Visit(V&& v) {
    const Range<std::uint64_t> duration{1, 24u * 3600 * 1000};
    v("heartbeat_ms", heartbeat_ms, Range<std::uint32_t>{100, 600'000}, "What Welcome says.");
    v("tick_ms", tick_ms, Range<std::uint32_t>{1, 60'000}, "Between two looks at its own clock.");
    v("restart_ms", restart_ms, Range<std::uint32_t>{1, 3'600'000},
      "After a death of its own making (a disk that fails), until it is back.");
    v("commit_ms", commit_ms, Range<std::uint32_t>{0, 60'000}, "What a commit takes.");
    v("target_ms", target_ms, duration, "As in the lease book: work that a volunteer gets ahead.");
    v("deadline_ms_min", deadline_ms_min, duration, "Shortest deadline of a lease.");
    v("deadline_ms_max", deadline_ms_max, duration, "Longest.");
    v("grace_ms", grace_ms, duration, "A late grant is remembered this long.");
    v("silence_ms_max", silence_ms_max, duration, "After this a silent volunteer is gone.");
    v("wait_ms_max", wait_ms_max, duration, "Longest wait in the queue.");
    v("hold_off_ms_min", hold_off_ms_min, duration, "Pause after a lost lease; doubles.");
    v("hold_off_ms_max", hold_off_ms_max, duration, "Longest pause.");
    v("workers_max", workers_max, Range<std::uint32_t>{1, 1'000'000}, "Places in the lease book.");
  }
};

// Faults drawn from the seed, on top of the listed ones.
struct ChaosSettings {
  std::uint32_t faults = 0, from_s = 1, until_s = 60, lasts_s_max = 20;
  std::vector<std::string> kinds = {"kill host", "kill",       "cut",  "half-cut",   "stall", "lag",
                                    "disk-full", "disk-error", "torn", "clock-jump", "leave"};

  template <class V>
  void Visit(V&& v) {
    v("faults", faults, Range<std::uint32_t>{0, 10'000}, "How many are drawn from the seed.");
    v("kinds", kinds, Any{}, "Of these kinds; \"kill host\" is one of its own.");
    v("from_s", from_s, Range<std::uint32_t>{0, 1'000'000}, "Not before.");
    v("until_s", until_s, Range<std::uint32_t>{0, 1'000'000}, "Not after.");
    v("lasts_s_max", lasts_s_max, Range<std::uint32_t>{1, 100'000}, "Longest.");
  }
};

struct Scenario {
  std::string title = "a scenario";
  std::uint32_t seeds = 1, limit_minutes = 30;
  std::vector<std::string> faults;
  RunSettings run;
  CrowdSettings crowd;
  NetworkSettings network;
  HostScenario host;
  ChaosSettings chaos;

  template <class V>
  void Visit(V&& v) {
    v("title", title, Any{}, "One line for people.");
    v("seeds", seeds, Range<std::uint32_t>{1, 1'000'000}, "How many seeds the tests run.");
    v("limit_minutes", limit_minutes, Range<std::uint32_t>{1, 100'000},
      "Virtual time within which the run must be over.");
    v("faults", faults, Any{}, "What goes wrong, one line each: see below.");
    v.Section("run", run, "What is trained.");
    v.Section("crowd", crowd, "Who joins.");
    v.Section("network", network, "The lines, and the host's limits.");
    v.Section("host", host, "The host of the run.");
    v.Section("chaos", chaos, "Faults drawn from the seed.");
  }
};

// Reads a TOML file, applies "key=value" overrides, and checks every fault line.
Result<Scenario> ReadScenario(std::string_view text, const std::string& file_name,
                              const std::vector<std::string>& overrides);

// All faults of one seed, the listed ones first, and who takes part: what a simulation is a
// function of, besides the scenario and the seed. Cutting it down moves nothing else.
struct Schedule {
  std::vector<SimFault> faults;
  std::vector<std::uint32_t> workers;  // indices, ascending
  bool operator==(const Schedule&) const = default;
};
// REQUIRES a scenario that ReadScenario() gave.
Schedule ScheduleOf(const Scenario& scenario, std::uint64_t seed);

// What of the real configuration follows.
Recipe RecipeOf(const Scenario& scenario, std::uint64_t seed);
HostSettings HostSettingsOf(const Scenario& scenario);

}  // namespace waggle
