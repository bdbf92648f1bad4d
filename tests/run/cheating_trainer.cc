// For tests: a trainer that runs a delegated program as its graphs say, scales the gradient of one
// weight at one step, commits to what comes of it, and answers for it consistently. It can be slow,
// and can die at a question.
//
//   cheating_trainer RECIPE FOLDER STEP SLOW_MS DIE_AT
//
// STEP: where it cheats (past the end: nowhere). DIE_AT: the question that it dies at; 0: at none.
// FOLDER gets invite.txt and lie.txt ("step node").
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "delegation/answer_run.h"
#include "delegation/delegated_training.h"
#include "unreliable_party.h"

namespace {

using namespace waggle;
namespace fs = std::filesystem;

struct Orders {
  std::uint64_t step = 0;
  int slow_ms = 0, die_at = 0;
};

class CheatingTrainer : public Answerer {
 public:
  CheatingTrainer(const DelegatedProgram& program, StepState start, const Orders& orders)
      : program_(program), orders_(orders), pool_(1) {
    lies_.outputs = [this](std::uint32_t node, std::vector<HostTensor>& out) {
      if (node != node_) return;
      for (float& x : out[0].data) x *= 1.5f;
    };
    Train(std::move(start));
  }
  std::uint32_t node() const { return node_; }

  const RunProgram& program() const override { return program_.run(); }
  RunCommit Commit() override { return {RecordTree(records_).root(), ProgramHash(program_.run())}; }
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    auto party = std::make_unique<TrainingParty>(
        terms, side,
        TrainingParty::Setting{.specs = program_.specs(),
                               .data = [this](std::uint64_t step) { return program_.DataOf(step); },
                               .before = [this](std::uint64_t step) { return &states_[step]; },
                               .ops = BestOps(),
                               .pool = pool_},
        records_, lies_);
    return std::make_unique<Unreliable>(std::move(party), orders_.slow_ms, orders_.die_at);
  }

 private:
  void Train(StepState state) {
    const std::uint64_t steps = program_.run().units;
    states_.reserve(steps);
    for (std::uint64_t s = 0; s < steps; ++s) {
      const auto graph = StepProgramOf(program_.run(), program_.model(), program_.specs()[s]);
      if (s == orders_.step) {
        while (graph->nodes[node_].op != NodeOp::kOuter) ++node_;
      }
      state.data = program_.DataOf(s);
      states_.push_back(state);
      StepOutcome outcome =
          ExecuteStep(program_.run(), program_.model(), program_.specs()[s], s, states_[s],
                      BestOps(), pool_, 1u << 30, s == orders_.step ? lies_ : Lies{});
      records_.push_back(outcome.record);
      records_.back().nodes = {};
      const Program& p = outcome.graph->program();
      for (std::size_t i = 0; i < p.state.size(); ++i) {
        state.w[i] = outcome.graph->execution().Tensor(p.results[i * 3]);
        state.m[i] = outcome.graph->execution().Tensor(p.results[i * 3 + 1]);
        state.v[i] = outcome.graph->execution().Tensor(p.results[i * 3 + 2]);
      }
    }
  }

  const DelegatedProgram& program_;
  const Orders orders_;
  ThreadPool pool_;
  Lies lies_;
  std::uint32_t node_ = 0;
  std::vector<StepState> states_;
  std::vector<StepRecord> records_;
};

StepState StartOf(const SftWork& work, const DelegatedProgram& program) {
  StepState state;
  for (const StateEntry& entry : program.state()) {
    HostTensor w = HostTensor::Zero(entry.type);
    state.m.push_back(w);
    state.v.push_back(w);
    w.data = work.base.model.parameters.at(entry.name).data;
    state.w.push_back(std::move(w));
  }
  return state;
}

Status Cheat(const fs::path& recipe_file, const fs::path& folder, const Orders& orders) {
  WG_ASSIGN(SftRecipe recipe, ReadSftRecipe(recipe_file));
  WG_ASSIGN(const SftWork work, OpenSftWork(std::move(recipe)));
  WG_ASSIGN(const DelegatedProgram program, DelegatedProgram::Of(work));
  CheatingTrainer trainer(program, StartOf(work, program), orders);
  fs::create_directories(folder);
  WG_TRY(WriteFileAtomic(folder / "lie.txt", fmt::format("{} {}\n", orders.step, trainer.node())));
  const KeyPair key = KeyPair::Generate();
  AnswerOptions options;
  options.listen = "127.0.0.1:0";
  options.folder = folder;
  Status written;
  options.listening = [&](const std::string& invite) {
    written = WriteFileAtomic(folder / "invite.txt", invite + "\n");
  };
  return AnswerForRun(options, trainer, key, SystemClock()).map([](const auto&) {});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const Orders orders{std::strtoull(argv[3], nullptr, 10), std::atoi(argv[4]), std::atoi(argv[5])};
  const Status status = Cheat(argv[1], argv[2], orders);
  if (status) return 0;
  fmt::print(stderr, "{}\n", status.error().what);
  return 1;
}
