// waggle outcomes, replay, backup, restore: what a hosted run has on record.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "host/replay_run.h"
#include "store/run_store.h"
#include "telemetry/telemetry.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kRowsAtOnce = 1000;
constexpr int kCopyAttempts = 5;

Result<std::unique_ptr<RunStore>> StoreOf(const RunFolder& folder) {
  WG_ASSIGN(const Hash256 run, folder.RunId());
  WG_ASSIGN(const std::string place, folder.StorePlace());
  return RunStore::Open(place, run, RunStore::Access::kRead);
}

nlohmann::ordered_json ToJson(const RunStore::Ended& ended) {
  const OutcomeRecord& record = ended.record;
  nlohmann::ordered_json line = {{"number", ended.number},
                                 {"lease", LeaseName(record.lease)},
                                 {"worker", ToText(record.worker)},
                                 {"outcome", ToString(record.outcome)},
                                 {"tokens", record.tokens}};
  if (record.reason) line["reason"] = ToString(*record.reason);
  if (record.group) line["group"] = ToHex(*record.group);
  if (!record.text.empty()) line["text"] = record.text;
  return line;
}

Status PrintOutcomes(const std::string& run, std::uint64_t after) {
  WG_ASSIGN(const auto store, StoreOf(RunFolder(run)));
  while (true) {
    WG_ASSIGN(const auto rows, store->Outcomes(after, kRowsAtOnce));
    if (rows.empty()) return {};
    for (const RunStore::Ended& ended : rows) fmt::print("{}\n", ToJson(ended).dump());
    after = rows.back().number;
  }
}

struct ReplayArguments {
  std::string run, out;
  std::uint64_t to = 0;
  bool quiet = false;
  MachineOptions machine;
};

Status Replay(const ReplayArguments& arguments) {
  const fs::path out =
      arguments.out.empty() ? fs::path(arguments.run) / "replay" : fs::path(arguments.out);
  ReplayOptions options{
      .original = arguments.run, .run = {.run_directory = out}, .to = arguments.to};
  options.run.threads = arguments.machine.Threads();
  WG_ASSIGN(options.run.ops, arguments.machine.SelectedOps());
  options.run.quiet = arguments.quiet;
  std::error_code error;
  // Ours, left by a replay that was stopped: it begins anew, from the records.
  if (arguments.out.empty()) fs::remove_all(out, error);
  const auto summary = ReplayRun(options, SystemClock());
  if (arguments.out.empty()) fs::remove_all(out, error);
  if (!summary) return Forward(summary.error());
  fmt::print("replayed     {} steps from {} groups in {}\n", summary->steps, summary->groups,
             DurationText(summary->seconds));
  fmt::print("weight hash  {}\n", ToHex(summary->weight_hash));
  fmt::print("compared     {} policy version{} of the run: the same bits\n", summary->compared,
             summary->compared == 1 ? "" : "s");
  return {};
}

Status CopyAll(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::exists(from)) return {};
  fs::copy(from, to, fs::copy_options::recursive, error);
  if (error) return Fail(Blame::kMachine, "{}: {}", from.string(), error.message());
  return {};
}

// The run may be writing a newer one and dropping this one meanwhile.
Status CopyNewestCheckpoint(const RunFolder& from, const RunFolder& to) {
  Status copied = Fail(Blame::kOperator, "{} has no complete checkpoint", from.root().string());
  for (int i = 0; i < kCopyAttempts && !copied; ++i) {
    const auto versions = from.Checkpoints();
    if (versions.empty()) return copied;
    WG_ASSIGN(const fs::path staged, to.StageCheckpoint(versions.back()));
    copied = CopyAll(from.checkpoint(versions.back()), staged);
    if (copied) copied = to.CommitCheckpoint(versions.back());
  }
  return copied;
}

// A folder that `waggle resume` takes, of a run that goes on or is at rest.
Status CopyRun(const RunFolder& from, const RunFolder& to, const std::string& store) {
  std::error_code error;
  if (fs::exists(to.root())) return Fail(Blame::kOperator, "{} exists already", to.root().string());
  fs::create_directories(to.root(), error);
  if (error) return Fail(Blame::kMachine, "{}: {}", to.root().string(), error.message());
  for (const fs::path& part : {from.base(), from.teacher(), from.tls()})
    WG_TRY(CopyAll(part, to.root() / part.filename()));
  for (const char* file : {"metrics.jsonl", "evaluations.jsonl", "invite.txt"})
    WG_TRY(CopyAll(from.root() / file, to.root() / file));
  WG_TRY(CopyNewestCheckpoint(from, to));
  WG_ASSIGN(const auto records, StoreOf(from));
  if (!store.empty()) WG_TRY(to.RememberStore(store));
  WG_ASSIGN(const std::string place, to.StorePlace());
  WG_TRY(records->CopyTo(place));
  // Last: a folder with a recipe is a run.
  return CopyAll(from.recipe(), to.recipe());
}

}  // namespace

Action DefineOutcomes(CLI::App& app) {
  auto run = std::make_shared<std::string>();
  auto after = std::make_shared<std::uint64_t>(0);
  app.add_option("run", *run, "Folder of a run that others joined.")->required();
  app.add_option("--after", *after, "Only those after the one with this number.");
  return [run, after] { return PrintOutcomes(*run, *after); };
}

Action DefineReplay(CLI::App& app) {
  auto arguments = std::make_shared<ReplayArguments>();
  app.add_option("run", arguments->run, "Folder of a run that others joined.")->required();
  app.add_option("--to", arguments->to, "Stop at this policy version.");
  app.add_option("--out", arguments->out, "Keep the repeated run, as a run's folder.");
  app.add_flag("--quiet", arguments->quiet, "Print the result only.");
  arguments->machine.Define(app);
  return [arguments] { return Replay(*arguments); };
}

Action DefineBackup(CLI::App& app) {
  auto from = std::make_shared<std::string>();
  auto to = std::make_shared<std::string>();
  app.add_option("run", *from, "Folder of a run that others join; it may be going on.")->required();
  app.add_option("to", *to, "New folder for the backup.")->required();
  return [from, to]() -> Status {
    WG_TRY(CopyRun(RunFolder(*from), RunFolder(*to), ""));
    fmt::print("{}: complete. It holds the host's TLS key: keep it to yourself.\n", *to);
    return {};
  };
}

Action DefineRestore(CLI::App& app) {
  auto from = std::make_shared<std::string>();
  auto to = std::make_shared<std::string>();
  auto store = std::make_shared<std::string>();
  app.add_option("backup", *from, "Folder that `waggle backup` made.")->required();
  app.add_option("run", *to, "New folder of the run.")->required();
  app.add_option("--store", *store,
                 "Put the records there (postgresql://...), not into the folder.");
  return [from, to, store]() -> Status {
    WG_TRY(CopyRun(RunFolder(*from), RunFolder(*to), *store));
    fmt::print("restored. Go on with\n\n  waggle resume {} --listen ADDRESS:PORT\n", *to);
    return {};
  };
}

}  // namespace waggle
