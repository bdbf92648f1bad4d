#include "run/task_pool.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/philox.h"
#include "environments/environment.h"

namespace waggle {
namespace {

// Streams of the run's seed: tasks, and draws of tasks.
constexpr std::uint32_t kTaskStream = 10, kDrawStream = 11;

std::array<std::uint32_t, 4> Words(std::uint64_t seed, std::uint64_t number, std::uint32_t index,
                                   std::uint32_t stream) {
  return Philox(
      {index, static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), stream},
      PhiloxKeyFrom(seed));
}

std::uint64_t Joined(std::uint32_t low, std::uint32_t high) {
  return low | (std::uint64_t{high} << 32);
}

}  // namespace

TaskPool::TaskPool(const DifficultyRecipe& settings, std::uint64_t seed)
    : settings_(settings), seed_(seed) {
  Check(settings.tasks > 0, "a pool holds tasks");
  for (std::uint64_t i = 0; i < settings.tasks; ++i) {
    const auto words = Words(seed, i, 0, kTaskStream);
    const std::uint64_t task_seed = Joined(words[0], words[1]) & ~kHeldOutBit;
    if (!tasks_.emplace(task_seed, seeds_.size()).second) continue;
    members_[0].push_back(seeds_.size());
    seeds_.push_back(task_seed);
  }
  rates_.resize(seeds_.size());
  classes_.resize(seeds_.size(), Difficulty::kUnseen);
}

std::uint64_t TaskPool::Draw(std::uint64_t wave, std::uint32_t index) const {
  const double weight_of[] = {settings_.unseen_weight, settings_.hard_weight,
                              settings_.normal_weight, settings_.easy_weight, 0.0};
  std::array<double, kDifficultyNames.size()> shares{};
  double total = 0;
  for (std::size_t c = 0; c < shares.size(); ++c) {
    shares[c] = weight_of[c] * static_cast<double>(members_[c].size());
    total += shares[c];
  }
  // Weights that leave nobody, as when all tasks became easy and easy ones weigh nothing: all that
  // are in the pool alike.
  for (std::size_t c = 0; total == 0 && c + 1 < shares.size(); ++c)
    shares[c] = static_cast<double>(members_[c].size());
  if (total == 0)
    for (const double share : shares) total += share;
  const auto words = Words(seed_, wave, index, kDrawStream);
  double at = static_cast<double>(words[0]) * 0x1p-32 * total;
  std::size_t chosen = 0;
  for (std::size_t c = 0; c < shares.size(); ++c) {
    if (shares[c] == 0) continue;
    chosen = c;  // the last one also takes what rounding leaves over
    if (at < shares[c]) break;
    at -= shares[c];
  }
  const std::vector<std::uint64_t>& members = members_[chosen];
  return seeds_[members[Joined(words[1], words[2]) % members.size()]];
}

void TaskPool::Measured(std::uint64_t task_seed, std::uint64_t correct, std::uint64_t answers) {
  const auto found = tasks_.find(task_seed);
  if (found == tasks_.end() || answers == 0) return;
  const std::uint64_t task = found->second;
  rates_[task] = {correct, answers};
  if (classes_[task] == Difficulty::kOut) return;
  Move(task, Leaves(rates_[task]) ? Difficulty::kOut : Classify(rates_[task]));
}

bool TaskPool::Leaves(const Rate& rate) const {
  const double pass = static_cast<double>(rate.correct) / static_cast<double>(rate.answers);
  const std::uint64_t in = size() - members_[static_cast<std::size_t>(Difficulty::kOut)].size();
  return in > 1 && (pass < settings_.pass_min || pass > settings_.pass_max);
}

Difficulty TaskPool::Classify(const Rate& rate) const {
  if (rate.answers == 0) return Difficulty::kUnseen;
  const double pass = static_cast<double>(rate.correct) / static_cast<double>(rate.answers);
  if (pass <= settings_.hard_max) return Difficulty::kHard;
  return pass <= settings_.normal_max ? Difficulty::kNormal : Difficulty::kEasy;
}

void TaskPool::Move(std::uint64_t task, Difficulty to) {
  auto& from = members_[static_cast<std::size_t>(classes_[task])];
  auto& into = members_[static_cast<std::size_t>(to)];
  if (&from == &into) return;
  from.erase(std::lower_bound(from.begin(), from.end(), task));
  into.insert(std::lower_bound(into.begin(), into.end(), task), task);
  classes_[task] = to;
}

Difficulty TaskPool::class_of(std::uint64_t task_seed) const {
  const auto found = tasks_.find(task_seed);
  return found == tasks_.end() ? Difficulty::kOut : classes_[found->second];
}

TaskPool::Counts TaskPool::counts() const {
  Counts counts{};
  for (std::size_t c = 0; c < counts.size(); ++c) counts[c] = members_[c].size();
  return counts;
}

nlohmann::json TaskPool::Save() const {
  auto rows = nlohmann::json::array();  // only what was measured
  for (std::uint64_t task = 0; task < size(); ++task) {
    if (rates_[task].answers == 0) continue;
    rows.push_back({task, rates_[task].correct, rates_[task].answers,
                    classes_[task] == Difficulty::kOut ? 1u : 0u});
  }
  return rows;
}

Status TaskPool::Load(const nlohmann::json& saved) {
  if (!saved.is_array()) return Fail(Blame::kMachine, "orchestrator state: pool is no list");
  TaskPool fresh(settings_, seed_);
  for (const nlohmann::json& row : saved) {
    const bool numbers =
        row.is_array() && row.size() == 4 &&
        std::all_of(row.begin(), row.end(), [](const auto& x) { return x.is_number_unsigned(); });
    if (!numbers) return Fail(Blame::kMachine, "orchestrator state: pool: a row is damaged");
    const Rate rate{row[1], row[2]};
    const std::uint64_t task = row[0];
    if (task >= size() || rate.answers == 0 || rate.correct > rate.answers)
      return Fail(Blame::kMachine, "orchestrator state: pool: task {} is damaged", task);
    fresh.rates_[task] = rate;
    fresh.Move(task, row[3] == 1 ? Difficulty::kOut : Classify(rate));
  }
  rates_ = std::move(fresh.rates_);
  classes_ = std::move(fresh.classes_);
  members_ = std::move(fresh.members_);
  return {};
}

}  // namespace waggle
