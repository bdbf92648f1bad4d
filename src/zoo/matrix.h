// The matrix: every adversary against every tier of trust, what is expected of each cell, and how
// both are told.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "zoo/adversary.h"
#include "zoo/ledger_game.h"
#include "zoo/zoo_run.h"

namespace waggle {

struct ZooOptions {
  std::filesystem::path cache;  // for the starting models
  const Ops* ops = nullptr;     // canonical
  unsigned threads = 1;
  std::set<std::string> only, tiers;  // names; empty: all
  std::function<void(const std::string&)> say = [](const std::string&) {};
  std::function<double()> seconds;  // a clock, to measure what checks cost; or none
};

struct Matrix {
  std::vector<Row> rows;           // adversaries in their order
  std::vector<Row> honest;         // the twins: nothing may be caught
  std::vector<std::string> wrong;  // cells that are not as expected, in words
  // Of honest groups: what sampling took, what examining took; zeros where no clock came in.
  double sampling_seconds = 0, examining_seconds = 0;
};

// Runs what is asked for. Errors: names that are none (kOperator), our own trouble.
Result<Matrix> RunZoo(const ZooOptions& options);

// The rules of the zoo's ledger: those that a host would set for the zoo's run.
Result<GameRules> ZooGameRules();

// One letter for each tier, as it should be: "CC-..". REQUIRES an adversary.
std::string_view ExpectedOf(std::string_view adversary);

std::string MatrixText(const Matrix& matrix);      // for a terminal
std::string MatrixMarkdown(const Matrix& matrix);  // for docs/security.md
std::string MatrixJson(const Matrix& matrix);

}  // namespace waggle
