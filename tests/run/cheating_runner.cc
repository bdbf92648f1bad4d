// For tests: somebody who was given a run of reinforcement learning and does it wrong at one place
// (delegation/test_cheating_run.h), commits to what comes of it, and answers for it. It can be
// slow, and can die at a question.
//
//   cheating_runner RECIPE FOLDER LIE BATCH SEQUENCE SLOW_MS DIE_AT
//
// LIE: none, token, logp, weights, start, gradient, skip, tokens, reward, secret. DIE_AT: the
// question that it dies at; 0: at none. FOLDER gets invite.txt.
#include <fmt/format.h>

#include <cstdlib>

#include "delegation/test_cheating_run.h"
#include "unreliable_party.h"

namespace {

using namespace waggle;
using testing_delegation::CheatingRun;
using testing_delegation::RunLie;
namespace fs = std::filesystem;

class UnreliableRun : public CheatingRun {
 public:
  UnreliableRun(const RunWork& work, RunLie lie, std::uint64_t batch, std::uint64_t sequence,
                int slow_ms, int die_at)
      : CheatingRun(work, lie, batch, sequence), slow_ms_(slow_ms), die_at_(die_at) {}
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override {
    return std::make_unique<Unreliable>(CheatingRun::Side(terms, side), slow_ms_, die_at_);
  }

 private:
  const int slow_ms_, die_at_;
};

std::optional<RunLie> LieOf(std::string_view name) {
  constexpr std::pair<std::string_view, RunLie> kLies[] = {
      {"none", RunLie::kNone},     {"token", RunLie::kToken},
      {"logp", RunLie::kLogProb},  {"weights", RunLie::kWeights},
      {"start", RunLie::kStart},   {"gradient", RunLie::kGradient},
      {"skip", RunLie::kSkip},     {"tokens", RunLie::kTokens},
      {"reward", RunLie::kReward}, {"secret", RunLie::kSecretReward},
  };
  for (const auto& [known, lie] : kLies)
    if (known == name) return lie;
  return std::nullopt;
}

Status Cheat(const fs::path& recipe, const fs::path& folder, RunLie lie, char** numbers) {
  WG_ASSIGN(const RunWork work, OpenRunWork(recipe, {}));
  UnreliableRun run(work, lie, std::strtoull(numbers[0], nullptr, 10),
                    std::strtoull(numbers[1], nullptr, 10), std::atoi(numbers[2]),
                    std::atoi(numbers[3]));
  fs::create_directories(folder);
  return AnswerIn(folder, run, KeyPair::Generate());
}

}  // namespace

int main(int argc, char** argv) {
  const auto lie = argc == 8 ? LieOf(argv[3]) : std::nullopt;
  if (!lie) return 2;
  return ExitCodeOf(Cheat(argv[1], argv[2], *lie, argv + 4));
}
