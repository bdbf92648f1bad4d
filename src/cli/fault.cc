// waggle inspect FAULT.json: repeats the step that a numeric fault ended, from a checkpoint of its
// run.
#include "base/hex.h"
#include "cli/common.h"
#include "cli/sft.h"
#include "run/run_folder.h"
#include "training/checkpoint_folder.h"
#include "training/fault_dump.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// What a folder of `waggle run` or `waggle sft` says about its trainer.
struct FaultyRun {
  ModelConfig model;
  NumericsConfig numerics;
  TrainerConfig trainer;
  std::vector<fs::path> checkpoints;
};

Result<FaultyRun> OpenSft(const fs::path& root) {
  WG_ASSIGN(const SftRecipe recipe, LoadSftRecipe(root));
  WG_ASSIGN(const BaseModel base, StartingModel(recipe.model, recipe.tokenizer));
  FaultyRun run{.model = base.model.config, .trainer = recipe.trainer};
  WG_ASSIGN(run.numerics, NumericsOf(recipe.model));
  for (const std::uint64_t step : CompleteSteps(root / "checkpoints"))
    run.checkpoints.push_back(StepFolder(root / "checkpoints", step));
  return run;
}

Result<FaultyRun> OpenRun(const fs::path& root) {
  const RunFolder folder(root);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(folder.recipe(), {}));
  WG_ASSIGN(const BaseModel base, LoadBaseModel(folder.base()));
  FaultyRun run{.model = base.model.config, .trainer = recipe.trainer};
  WG_ASSIGN(run.numerics, NumericsOf(recipe.model));
  for (const std::uint64_t version : folder.Checkpoints())
    run.checkpoints.push_back(folder.checkpoint(version) / "trainer");
  return run;
}

}  // namespace

Status InspectFault(const fs::path& file) {
  WG_ASSIGN(const FaultDump dump, ReadFaultDump(file));
  fmt::print(
      "fault        {}\nafter step   {}\nstate        {}\nbatch        {} texts, {} groups\n",
      dump.error, dump.step, ToHex(dump.state), dump.batch.sft.size(), dump.batch.groups.size());
  const fs::path root = fs::absolute(file).parent_path().parent_path();
  auto opened = fs::exists(root / "sft.toml") ? OpenSft(root) : OpenRun(root);
  if (!opened) return Forward(opened.error());
  ThreadPool pool(HardwareThreads());
  for (const fs::path& checkpoint : opened->checkpoints) {
    auto trainer = Trainer::LoadCheckpoint(checkpoint, opened->model, opened->numerics,
                                           opened->trainer, BestOps(), pool);
    if (!trainer || (*trainer)->StateHash() != dump.state) continue;
    WG_TRY(LoadTeacher(**trainer, opened->trainer, RunFolder(root), opened->numerics, BestOps()));
    const auto report = (*trainer)->ReplayDump(file);
    if (!report && report.error().what == dump.error) {
      fmt::print("replay       the same fault from {}\n", checkpoint.string());
      return {};
    }
    return Fail(Blame::kMachine, "the replay of {} from {} ends otherwise: {}", file.string(),
                checkpoint.string(), report ? "no fault" : report.error().what);
  }
  fmt::print(
      "replay       no checkpoint on disk is of this state: go on with the run, --stop-after at "
      "the "
      "step above, and look again\n");
  return {};
}

}  // namespace waggle
