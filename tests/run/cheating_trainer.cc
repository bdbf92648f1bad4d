// For tests: a trainer that runs a delegated program as its graphs say, scales the gradient of one
// weight at one step, commits to what comes of it, and answers for it consistently. It can be slow,
// and can die at a question.
//
//   cheating_trainer RECIPE FOLDER STEP SLOW_MS DIE_AT
//
// STEP: where it cheats (past the end: nowhere). DIE_AT: the question that it dies at; 0: at none.
// FOLDER gets invite.txt and lie.txt ("step node").
#include <fmt/format.h>

#include <cstdlib>

#include "base/files.h"
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
      TakeOver(outcome, state);
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
  return AnswerIn(folder, trainer, KeyPair::Generate());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const Orders orders{std::strtoull(argv[3], nullptr, 10), std::atoi(argv[4]), std::atoi(argv[5])};
  return ExitCodeOf(Cheat(argv[1], argv[2], orders));
}
