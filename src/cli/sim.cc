// waggle sim: a whole network in one process, from one seed.
#include <memory>

#include "base/clock.h"
#include "base/files.h"
#include "cli/command.h"
#include "sim/isolate.h"
#include "sim/shrink.h"
#include "sim/sim_report.h"

namespace waggle {
namespace {

constexpr std::size_t kScenarioBytesMax = std::size_t{1} << 20;

struct SimArguments {
  std::string file, plant, only_faults, only_workers;
  std::uint64_t seed = 1, seeds = 1;
  unsigned jobs = 1;
  std::vector<std::string> settings;
  bool show = false, no_shrink = false;
};

double Now() { return static_cast<double>(SystemClock().MonotonicNs()) * 1e-9; }

// One line that rewrites itself, once a second, for whoever watches a terminal or a log.
std::function<void(Micros, PolicyVersion)> Progress(const Scenario& scenario) {
  return [&scenario, began = Now(), said = Now()](Micros now, PolicyVersion version) mutable {
    const double time = Now();
    if (time < said + 2) return;
    said = time;
    fmt::print(stderr, "{:5.0f} s: {} virtual seconds, version {} of {}\n", time - began,
               now / kSecond, version.value, scenario.run.steps);
  };
}

void ShowSchedule(const Schedule& schedule) {
  for (std::size_t i = 0; i < schedule.faults.size(); ++i)
    fmt::print("  fault {}: {}\n", i, ToText(schedule.faults[i]));
  std::string workers = IndexText(schedule.workers);
  fmt::print("  workers: {}\n", workers);
}

std::string WithoutNumbers(std::string text) {
  text.resize(std::min(text.find(':'), text.size()));
  std::erase_if(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
  return text;
}

Status Broken(const SimArguments& arguments, const Scenario& scenario, std::uint64_t seed,
              Plant plant, const Schedule& schedule, const std::string& promise) {
  const Schedule whole = ScheduleOf(scenario, seed);
  const Reproduction same{arguments.file, seed, arguments.settings, plant};
  fmt::print("seed {}: {}\nreproduce: {}\n", seed, promise, CommandFor(same, whole, schedule));
  if (!arguments.no_shrink) {
    fmt::print(stderr, "shrinking...\n");
    // The same promise, whatever the numbers in it: else one failure turns into another.
    const Schedule small = Shrink(schedule, [&](const Schedule& part) {
      const std::string also = SimulateApart(scenario, seed, part, plant).broken;
      return !also.empty() && WithoutNumbers(also) == WithoutNumbers(promise);
    });
    const SimResult again = SimulateApart(scenario, seed, small, plant);
    fmt::print("shrunk to {} of {} faults and {} of {} workers: {}\nshrunk: {}\n",
               small.faults.size(), schedule.faults.size(), small.workers.size(),
               schedule.workers.size(), again.broken, CommandFor(same, whole, small));
    ShowSchedule(small);
  }
  return Fail(Blame::kBug, "a promise was broken: {}", promise);
}

Status RunOne(const SimArguments& arguments, const Scenario& scenario, Plant plant) {
  const Schedule whole = ScheduleOf(scenario, arguments.seed);
  std::vector<std::uint32_t> faults(whole.faults.size());
  for (std::size_t i = 0; i < faults.size(); ++i) faults[i] = static_cast<std::uint32_t>(i);
  std::vector<std::uint32_t> workers = whole.workers;
  if (!arguments.only_faults.empty()) {
    WG_ASSIGN(faults, ParseIndices(arguments.only_faults, whole.faults.size()));
  }
  if (!arguments.only_workers.empty()) {
    WG_ASSIGN(workers, ParseIndices(arguments.only_workers, whole.workers.size()));
  }
  const Schedule schedule = PartOf(whole, faults, workers);
  if (arguments.show) {
    ShowSchedule(schedule);
    return {};
  }
  // What would end this process is found by a process of its own first, when it is cheap.
  const bool small = scenario.crowd.workers <= 256;
  if (small) {
    const SimResult apart = SimulateApart(scenario, arguments.seed, schedule, plant);
    if (!apart.broken.empty())
      return Broken(arguments, scenario, arguments.seed, plant, schedule, apart.broken);
  }
  const double began = Now();
  const SimResult result = Simulate(scenario, arguments.seed, schedule,
                                    {.plant = plant, .progress = Progress(scenario)});
  fmt::print("{}", ReportOf(scenario, result, Now() - began));
  if (result.broken.empty()) return {};
  return Broken(arguments, scenario, arguments.seed, plant, schedule, result.broken);
}

Status RunMany(const SimArguments& arguments, const Scenario& scenario, Plant plant) {
  std::optional<Verdicts> bad;
  std::uint64_t held = 0;
  const double began = Now();
  double said = began;
  SimulateSeeds(scenario, arguments.seed, arguments.seeds, plant, arguments.jobs,
                [&](const Verdicts& verdict) {
                  if (!verdict.broken.empty()) {
                    bad = verdict;
                    return false;
                  }
                  ++held;
                  if (Now() > said + 2) {
                    said = Now();
                    fmt::print(stderr, "{} of {} seeds\n", held, arguments.seeds);
                  }
                  return true;
                });
  if (bad) {
    return Broken(arguments, scenario, bad->seed, plant, ScheduleOf(scenario, bad->seed),
                  bad->broken);
  }
  fmt::print("{}: all promises held for {} seeds from {} on, {:.1f} s\n", scenario.title, held,
             arguments.seed, Now() - began);
  return {};
}

Status RunSim(const SimArguments& arguments) {
  if (arguments.plant == "list") {
    for (const PlantDoc& doc : kPlants) fmt::print("{:<20} {}\n", doc.name, doc.what);
    return {};
  }
  Plant plant = Plant::kNone;
  if (!arguments.plant.empty()) {
    const auto found = FindPlant(arguments.plant);
    if (!found)
      return Fail(Blame::kOperator, "--plant {}: there is none; `--plant list` shows all",
                  arguments.plant);
    plant = *found;
  }
  if (arguments.file.empty()) return Fail(Blame::kOperator, "which scenario? tests/sim has some");
  WG_ASSIGN(const std::string text, ReadFile(arguments.file, kScenarioBytesMax));
  WG_ASSIGN(const Scenario scenario, ReadScenario(text, arguments.file, arguments.settings));
  if (arguments.seeds <= 1) return RunOne(arguments, scenario, plant);
  if (!arguments.only_faults.empty() || !arguments.only_workers.empty() || arguments.show)
    return Fail(Blame::kOperator, "--only-faults, --only-workers and --show go with one seed");
  return RunMany(arguments, scenario, plant);
}

}  // namespace

Action DefineSim(CLI::App& app) {
  auto arguments = std::make_shared<SimArguments>();
  app.add_option("scenario", arguments->file, "Scenario file (docs/simulator.md).");
  app.add_option("--seed", arguments->seed, "Everything that chance decides follows from it.")
      ->capture_default_str();
  app.add_option("--seeds", arguments->seeds, "So many seeds, from --seed on.")
      ->capture_default_str();
  app.add_option("--jobs", arguments->jobs, "Seeds at a time, with --seeds.")
      ->capture_default_str();
  app.add_option("--set", arguments->settings, "Setting as key=value; repeatable.");
  app.add_option("--only-faults", arguments->only_faults,
                 "These of the schedule's faults alone, as 0,3-7 or none.");
  app.add_option("--only-workers", arguments->only_workers, "These workers alone.");
  app.add_option("--plant", arguments->plant,
                 "Plant a bug, to see that it is found; `list` shows all.");
  app.add_flag("--show", arguments->show, "Print the schedule of faults and stop.");
  app.add_flag("--no-shrink", arguments->no_shrink, "Do not look for a smaller schedule.");
  return [arguments] { return RunSim(*arguments); };
}

}  // namespace waggle
