// The matrix for people and for programs. What goes into a document holds no seconds.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "zoo/matrix.h"

namespace waggle {
namespace {

std::string Delay(const Cell& cell) {
  if (!cell.delay && !cell.delay_simulated) return "";
  std::string text = cell.delay ? fmt::format("{:.1f}", *cell.delay) : "?";
  if (cell.delay_simulated) text += fmt::format(" ({:.1f})", *cell.delay_simulated);
  return text;
}

// One line of a table; cells between bars.
std::string Line(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

std::string Rule(std::size_t columns) {
  std::string line = "|";
  for (std::size_t i = 0; i < columns; ++i) line += "---|";
  return line + "\n";
}

std::string Letters(const Matrix& matrix) {
  std::vector<std::string> head{"adversary"};
  head.insert(head.end(), ZooTiers().begin(), ZooTiers().end());
  std::string text = Line(head) + Rule(head.size());
  for (const Row& row : matrix.rows) {
    std::vector<std::string> cells{"`" + std::string(row.adversary.name) + "`"};
    for (const Cell& cell : row.cells) cells.emplace_back(1, Letter(cell.outcome));
    text += Line(cells);
  }
  return text;
}

// By whom and with which reason; and what the ledger makes of it.
std::string Findings(const Matrix& matrix) {
  std::string text =
      Line({"adversary", "found", "tokens replayed per token", "in the ledger", "epochs"}) +
      Rule(5);
  for (const Row& row : matrix.rows) {
    std::string found;
    for (const char* tier : {"arrival", "exact", "step", "monitors"}) {
      const Cell& cell = row.cells[TierNumber(tier)];
      if (cell.outcome != ZooOutcome::kCaught) continue;
      found += fmt::format("{}{}: {}", found.empty() ? "" : "; ", tier, cell.found);
      if (cell.delay && *cell.delay > 1) found += fmt::format(" after {:.1f}", *cell.delay);
    }
    const Cell& exact = row.cells[TierNumber("exact")];
    const Cell& ledger = row.cells[TierNumber("ledger")];
    text += Line({"`" + std::string(row.adversary.name) + "`", found,
                  exact.cost && *exact.cost > 0 ? fmt::format("{:.2f}", *exact.cost) : "",
                  ledger.found, Delay(ledger)});
  }
  return text;
}

// Of rollouts, what each fingerprint refuses.
std::string Shares(const Matrix& matrix) {
  std::string text = "refused by fingerprints, % of rollouts (columns 3 to 13):\n";
  for (const auto* rows : {&matrix.honest, &matrix.rows}) {
    for (const Row& row : *rows) {
      if (row.adversary.role != ZooRole::kWorker) continue;
      text += fmt::format("{:<22}", row.adversary.name);
      for (std::size_t t = 2; t + 3 < row.cells.size(); ++t)
        text += fmt::format("{:>5.0f}", 100 * row.cells[t].share);
      text += "\n";
    }
  }
  return text;
}

}  // namespace

std::string MatrixMarkdown(const Matrix& matrix) {
  return Letters(matrix) + "\n" + Findings(matrix);
}

std::string MatrixText(const Matrix& matrix) {
  std::string text = fmt::format("{:<22}", "");
  for (std::size_t t = 0; t < ZooTiers().size(); ++t) text += fmt::format("{:>3}", t + 1);
  text += "\n";
  for (const Row& row : matrix.rows) {
    text += fmt::format("{:<22}", row.adversary.name);
    for (const Cell& cell : row.cells) text += fmt::format("  {}", Letter(cell.outcome));
    text += "\n";
  }
  text +=
      "\nC caught, $ not found out and earns less than honest work, p passes, b blind by design, "
      "- not about this\n";
  for (std::size_t t = 0; t < ZooTiers().size(); ++t)
    text += fmt::format("{:>3} {}\n", t + 1, ZooTiers()[t]);
  text += "\n" + Shares(matrix) + "\n";
  for (const Row& row : matrix.rows) {
    for (std::size_t t = 0; t < row.cells.size(); ++t) {
      const Cell& cell = row.cells[t];
      const bool print = t >= 2 && t + 3 < row.cells.size();
      if (cell.found.empty() || print) continue;
      text += fmt::format("{:<22} {:<9} {:<7} {}{}\n", row.adversary.name, ZooTiers()[t],
                          ToString(cell.outcome), cell.found,
                          Delay(cell).empty() ? "" : "; delay " + Delay(cell));
    }
  }
  for (const Row& row : matrix.honest)
    text += fmt::format("{}: nothing found\n", row.adversary.name);
  if (matrix.sampling_seconds > 0)
    text +=
        fmt::format("examining an honest group takes {:.2f} of the seconds that sampling takes\n",
                    matrix.examining_seconds / matrix.sampling_seconds);
  return text;
}

std::string MatrixJson(const Matrix& matrix) {
  nlohmann::ordered_json json;
  json["tiers"] = ZooTiers();
  const auto rows = [&](const std::vector<Row>& from) {
    auto list = nlohmann::ordered_json::array();
    for (const Row& row : from) {
      nlohmann::ordered_json one = {{"name", row.adversary.name},
                                    {"role", ToString(row.adversary.role)},
                                    {"does", row.adversary.does},
                                    {"pays", row.adversary.pays}};
      for (std::size_t t = 0; t < row.cells.size(); ++t) {
        const Cell& cell = row.cells[t];
        nlohmann::ordered_json c = {
            {"outcome", ToString(cell.outcome)}, {"found", cell.found}, {"share", cell.share}};
        if (cell.delay) c["delay"] = *cell.delay;
        if (cell.delay_simulated) c["delay_simulated"] = *cell.delay_simulated;
        if (cell.cost) c["cost"] = *cell.cost;
        one["cells"][ZooTiers()[t]] = std::move(c);
      }
      list.push_back(std::move(one));
    }
    return list;
  };
  json["adversaries"] = rows(matrix.rows);
  json["honest"] = rows(matrix.honest);
  json["unexpected"] = matrix.wrong;
  return json.dump(1) + "\n";
}

}  // namespace waggle
