// waggle bench: the macro benches side by side, or one number that pins the behaviour of the whole.
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "crypto/hash.h"
#include "host/local_run.h"
#include "kernels/kat.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// A tiny run from fixed seeds: warm-up, sampling, admission, policy steps, evaluation, checkpoint.
Recipe SignatureRecipe() {
  Recipe recipe;
  recipe.name = "signature";
  recipe.model.hidden = 32;
  recipe.model.intermediate = 64;
  recipe.model.positions = 64;
  recipe.warmup.steps = 6;
  recipe.warmup.batch = 24;
  recipe.environment.name = "reverse";
  recipe.orchestrator.steps = 4;
  recipe.orchestrator.groups_per_step = 6;
  recipe.orchestrator.group_size = 4;
  recipe.sampling.tokens_max = 12;
  recipe.evaluation.tasks = 8;
  return recipe;
}

Result<std::string> Signature(const Ops& ops, unsigned threads) {
  std::string pattern = (fs::temp_directory_path() / "waggle-signature-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr)
    return Fail(Blame::kMachine, "cannot create a folder in {}",
                fs::temp_directory_path().string());
  const fs::path scratch = pattern;
  const RunOptions options{.run_directory = scratch / "run",
                           .cache_directory = scratch / "cache",
                           .threads = threads,
                           .ops = &ops,
                           .quiet = true};
  Hash256 weights{};
  Status status;
  {
    auto run = LocalRun::Open(SignatureRecipe(), options, SystemClock());
    auto summary = run ? (*run)->Drive() : Result<RunSummary>(Forward(run.error()));
    if (summary) {
      weights = summary->weight_hash;
    } else {
      status = Forward(summary.error());
    }
  }
  std::error_code error;
  fs::remove_all(scratch, error);
  WG_TRY(status);
  Sha256Hasher hasher;
  hasher.Update(std::span<const std::uint8_t>(weights));
  ThreadPool pool(threads);
  const std::uint64_t known_answers = RunKnownAnswers(ops, pool).digest;
  hasher.Update(std::as_bytes(std::span(&known_answers, 1)));
  return ToHex(hasher.Finish()).substr(0, 12);
}

struct BenchArguments {
  bool signature = false, quick = false;
  std::vector<std::string> names;
  MachineOptions machine;
};

Status RunBenches(const BenchArguments& arguments) {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> names = arguments.names;
  if (names.empty()) names = {"gemm", "attention", "engine", "training", "tokenizer", "policy"};
  bool any = false;
  for (const std::string& name : names) {
    const fs::path program = folder / (name + "_bench");
    if (!fs::exists(program)) {
      fmt::print("{}: not built here (./waggle bench builds it)\n", program.filename().string());
      continue;
    }
    any = true;
    fmt::print("\n== {} ==\n", name);
    std::fflush(stdout);
    const std::string command = "'" + program.string() + "'" + (arguments.quick ? " --quick" : "");
    if (std::system(command.c_str()) != 0)
      return Fail(Blame::kMachine, "{} failed", program.string());
  }
  if (!any)
    return Fail(Blame::kOperator,
                "no bench program in {}: start with ./waggle bench, which builds them",
                folder.string());
  return {};
}

}  // namespace

Action DefineBench(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  app.add_option(
      "names", arguments->names,
      "Benches to run: gemm, attention, engine, training, tokenizer, policy (default: all).");
  app.add_flag("--signature", arguments->signature,
               "Print the digest of a tiny run from fixed seeds instead: equal on every machine.");
  app.add_flag("--quick", arguments->quick, "Fewer shapes and rounds.");
  arguments->machine.Define(app);
  return [arguments]() -> Status {
    if (!arguments->signature) return RunBenches(*arguments);
    WG_ASSIGN(const Ops* ops, arguments->machine.SelectedOps());
    WG_ASSIGN(const std::string signature, Signature(*ops, arguments->machine.Threads()));
    fmt::print("Signature: {}\n", signature);
    return {};
  };
}

}  // namespace waggle
