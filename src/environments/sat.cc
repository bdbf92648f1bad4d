#include "environments/sat.h"

#include <sodium.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "environments/graders.h"
#include "environments/json_rows.h"
#include "crypto/py_random.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

constexpr const char* kThink[] = {"<start_working_out>", "</end_working_out>"};

struct Instance {
  Cnf cnf;
  std::uint64_t law_seed = 0;
  std::string answer;  // bits; empty if there is no solution

  // The order of clauses, and of literals in them, does not make another formula.
  std::string key() const {
    auto clauses = cnf.clauses;
    for (auto& clause : clauses) std::sort(clause.begin(), clause.end());
    std::sort(clauses.begin(), clauses.end());
    std::string text = std::to_string(cnf.variables);
    for (const auto& clause : clauses) {
      text += '|';
      for (const std::int32_t literal : clause) text += fmt::format(" {}", literal);
    }
    return text;
  }
};

std::string LetterClause(const std::vector<std::int32_t>& clause) {
  std::string text;
  for (const std::int32_t literal : clause) {
    text += static_cast<char>(literal > 0 ? 'a' + literal - 1 : 'A' - literal - 1);
  }
  return text;
}

std::string NumberClause(const std::vector<std::int32_t>& clause) {
  std::string text;
  for (const std::int32_t literal : clause)
    text += fmt::format("{}{}", text.empty() ? "" : " ", literal);
  return text;
}

std::string EnglishClause(const std::vector<std::int32_t>& clause) {
  std::string text;
  for (const std::int32_t literal : clause) {
    text += fmt::format("{}{}x{}", text.empty() ? "" : " OR ", literal < 0 ? "NOT " : "",
                        std::abs(literal));
  }
  return fmt::format("({})", text);
}

std::string EnglishPrompt(const Instance& instance) {
  std::string text =
      fmt::format("SAT problem {}\nVariables: {}\nClauses:\n",
                  std::to_string(instance.law_seed).substr(0, 8), instance.cnf.variables);
  for (const auto& clause : instance.cnf.clauses) text += EnglishClause(clause) + "\n";
  text += fmt::format(
      "Find a value, 0 or 1, for every variable so that all clauses are true. Think between {} and "
      "{}, then write the values "
      "of x1 to x{} in order, separated by spaces, between <SOLUTION> and </SOLUTION>.\n",
      kThink[0], kThink[1], instance.cnf.variables);
  return text;
}

// The values in "0 1 1", "011" or "0,1,1"; nullopt if there is any other character or the wrong
// number of them.
std::optional<std::vector<bool>> ReadBits(std::string_view text, std::uint32_t variables) {
  std::vector<bool> bits;
  for (const char c : text) {
    if (c == ' ' || c == ',' || c == '\n' || c == '\r' || c == '\t') continue;
    if ((c != '0' && c != '1') || bits.size() == variables) return std::nullopt;
    bits.push_back(c == '1');
  }
  if (bits.size() != variables) return std::nullopt;
  return bits;
}

std::size_t CountOf(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos;
       at = text.find(what, at + what.size()))
    ++count;
  return count;
}

struct TagLayout {
  bool soft = false;         // all four tags, in order, with something between each pair
  bool strict = false;       // each exactly once besides, and nothing outside of them
  std::size_t trailing = 0;  // characters after the last tag
};

TagLayout LayoutOf(std::string_view text) {
  constexpr std::string_view kTags[] = {"<start_working_out>", "</end_working_out>", "<SOLUTION>",
                                        "</SOLUTION>"};
  TagLayout layout;
  const std::size_t close = text.rfind(kTags[3]);
  layout.trailing = close == std::string_view::npos
                        ? text.size()
                        : Trim(text.substr(close + kTags[3].size())).size();
  std::size_t at = 0, begin[4], end[4];
  bool once = true;
  for (int i = 0; i < 4; ++i) {
    begin[i] = text.find(kTags[i], at);
    if (begin[i] == std::string_view::npos) return layout;
    at = end[i] = begin[i] + kTags[i].size();
    once = once && CountOf(text, kTags[i]) == 1;
  }
  const auto between = [&](int i) { return Trim(text.substr(end[i], begin[i + 1] - end[i])); };
  layout.soft = !between(0).empty() && !between(2).empty();
  layout.strict = layout.soft && once && between(1).empty() &&
                  Trim(text.substr(0, begin[0])).empty() && layout.trailing == 0;
  return layout;
}

Result<Cnf> CnfOf(const Task& task) {
  const auto read = [](const nlohmann::json& row) { return TextField(row, "cnf"); };
  WG_ASSIGN(const std::string text, ParseRow(task.info_json, read));
  return ParseDimacs(text, {.variables_max = 1000, .literals_max = 100000});
}

class Sat final : public Environment {
 public:
  explicit Sat(const SatConfig& config) : config_(config) {}

  std::string_view name() const override { return "sat"; }
  std::string_view description() const override {
    return "Find values that satisfy every clause of a formula.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    if (config_.law_seeds) {
      const std::uint64_t law_seed =
          seed & kHeldOutBit ? (seed & 0xffffffffu) | (std::uint64_t{1} << 32) : seed & 0xffffffffu;
      return ToTask(Solved({NetworkSatInstance(law_seed), law_seed, {}}), seed);
    }
    const auto solve = [this](Instance& drawn) {
      drawn = Solved(std::move(drawn));
      return !drawn.answer.empty() || !config_.satisfiable_only;
    };
    const auto instance = DrawOnSide(
        seed, rules, [this](Rng& rng) { return Draw(rng); }, solve);
    if (!instance)
      return Fail(Blame::kOperator,
                  "sat: no formulas of this size; lower clauses_percent or raise variables_max");
    return ToTask(*instance, seed);
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    const auto field =
        config_.style == "tags" ? LastTag(completion, "SOLUTION") : std::optional(completion);
    if (!field || Trim(*field).empty() || field->size() > 4096) return std::nullopt;
    return std::string(Trim(*field));
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const auto cnf = CnfOf(task);
    if (!cnf) {
      Score score;
      score.components = {{"correct", 1, std::nullopt}};
      return score;
    }
    const std::string_view text = FinalText(transcript);
    const auto answer = Parse(task, text);
    const auto bits = answer ? ReadBits(*answer, cnf->variables) : std::nullopt;
    const double share = bits ? SatisfiedShare(*cnf, *bits) : 0.0;
    return config_.style == "tags" ? GradeTags(text, answer, bits.has_value(), share)
                                   : GradeBits(bits.has_value(), share);
  }

  std::optional<std::string> Demonstrate(const Task& task) const override {
    if (task.answer.empty()) return std::nullopt;
    if (config_.style != "tags") return task.answer;
    std::string spaced;
    for (const char bit : task.answer)
      spaced += fmt::format("{}{}", spaced.empty() ? "" : " ", bit);
    return fmt::format(
        "{}\nTrying values in order, false before true.\n{}\n<SOLUTION>{}</SOLUTION>", kThink[0],
        kThink[1], spaced);
  }

  DrawRules rules;

 private:
  static Instance Solved(Instance instance) {
    const SearchResult found = SolveCnf(instance.cnf);
    for (const bool bit : found.model) instance.answer += bit ? '1' : '0';
    return instance;
  }

  std::optional<Instance> Draw(Rng& rng) const {
    Instance instance;
    if (config_.law == "network") {
      instance.law_seed = rng.NextU32();
      instance.cnf = NetworkSatInstance(instance.law_seed);
    } else {
      instance.cnf = DrawSized(rng);
    }
    return instance;
  }

  Cnf DrawSized(Rng& rng) const {
    Cnf cnf;
    cnf.variables =
        static_cast<std::uint32_t>(rng.Between(config_.variables_min, config_.variables_max));
    const std::uint32_t clauses = std::max(1u, cnf.variables * config_.clauses_percent / 100);
    for (std::uint32_t i = 0; i < clauses; ++i) {
      std::vector<std::int32_t> clause;
      while (clause.size() < 3) {
        const auto variable = static_cast<std::int32_t>(1 + rng.Below(cnf.variables));
        const bool taken = std::any_of(clause.begin(), clause.end(),
                                       [&](std::int32_t l) { return std::abs(l) == variable; });
        if (!taken) clause.push_back(rng.Below(2) != 0 ? variable : -variable);
      }
      std::sort(clause.begin(), clause.end(),
                [](std::int32_t a, std::int32_t b) { return std::abs(a) < std::abs(b); });
      cnf.clauses.push_back(std::move(clause));
    }
    return cnf;
  }

  Task ToTask(const Instance& instance, std::uint64_t seed) const {
    std::string prompt = std::to_string(instance.cnf.variables), dimacs;
    for (const auto& clause : instance.cnf.clauses) {
      prompt +=
          config_.style == "letters" ? " " + LetterClause(clause) : "," + NumberClause(clause);
      dimacs += NumberClause(clause) + " 0\n";
    }
    prompt += '=';
    if (config_.style == "tags") prompt = EnglishPrompt(instance);
    Task task = UserTask(name(), seed, std::move(prompt), instance.answer);
    const std::string header =
        fmt::format("p cnf {} {}\n", instance.cnf.variables, instance.cnf.clauses.size());
    task.info_json = nlohmann::json{{"cnf", header + dimacs}}.dump();
    return task;
  }

  Score GradeBits(bool well_formed, double share) const {
    Score score;
    score.correct = well_formed && share == 1.0;
    const double rest = 1 - config_.format_weight - config_.clauses_weight;
    score.components = {{"correct", rest, score.correct ? 1.0 : 0.0},
                        {"format", config_.format_weight, well_formed ? 1.0 : 0.0},
                        {"clauses", config_.clauses_weight, share}};
    return score;
  }

  static Score GradeTags(std::string_view text, const std::optional<std::string>& answer,
                         bool well_formed, double share) {
    Score score;
    score.correct = well_formed && share == 1.0;
    const TagLayout layout = LayoutOf(text);
    const bool alphabet = answer && answer->find_first_not_of("01 ,\n\r\t") == std::string::npos;
    const double trailing =
        answer ? std::max(0.0, 0.2 - 0.001 * static_cast<double>(layout.trailing)) : 0.0;
    score.components = {{"correct", 1.0,
                         score.correct ? 1.0
                         : well_formed ? 0.0
                                       : -0.2},
                        {"strict_format", 0.15, layout.strict ? 0.3 : 0.0},
                        {"soft_format", 0.10, layout.soft ? 0.2 : 0.0},
                        {"shape", 0.15, well_formed ? 0.3 : 0.0},
                        {"no_trailing", 0.10, trailing},
                        {"characters", 0.05, alphabet ? 0.1 : 0.0},
                        {"clauses", 0, share}};
    return score;
  }

  SatConfig config_;
};

}  // namespace

Cnf NetworkSatInstance(std::uint64_t seed) {
  const std::string text = std::to_string(seed);
  std::array<std::uint8_t, crypto_hash_sha256_BYTES> hash{};
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  PyRandom rng = PyRandom::FromBytes(hash);
  // In double arithmetic and in this order, as the law is deployed; each product is rounded before
  // the next.
  const double difficulty = 0.3 + static_cast<double>(seed % 100) / 250.0;
  const double variable_span = 11.0 * difficulty, clause_span = 15.0 * difficulty;
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  Cnf cnf;
  cnf.variables = static_cast<std::uint32_t>(
      rng.RandInt(4 + whole(variable_span * 0.5), 4 + whole(variable_span)));
  const std::int64_t clauses = rng.RandInt(5 + whole(clause_span * 0.5), 5 + whole(clause_span));
  for (std::int64_t i = 0; i < clauses; ++i) {
    std::vector<std::int32_t> clause;
    for (const std::uint32_t index : rng.Sample(cnf.variables, std::min(3u, cnf.variables))) {
      const auto variable = static_cast<std::int32_t>(index + 1);
      clause.push_back(rng.Random() < 0.5 ? -variable : variable);
    }
    cnf.clauses.push_back(std::move(clause));
  }
  return cnf;
}

Result<std::unique_ptr<Environment>> MakeSat(const SatConfig& config) {
  if (config.variables_min > config.variables_max)
    return Fail(Blame::kOperator, "sat: variables_min is above variables_max");
  if (config.style == "letters" && config.law == "sized" && config.variables_max > 26) {
    return Fail(Blame::kOperator, "sat: {} variables do not fit 26 letters; use style compact",
                config.variables_max);
  }
  if (config.law_seeds && config.law != "network")
    return Fail(Blame::kOperator, "sat: law_seeds needs law = network");
  auto environment = std::make_unique<Sat>(config);
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace waggle
