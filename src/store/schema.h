// The tables, as numbered steps that are never changed once they have left the house: to change the
// schema, append a step.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace waggle {

// Statements of one step, in SQL that SQLite (3.35) and PostgreSQL (15) both take.
struct SchemaStep {
  const char* what;
  std::vector<std::string> statements;
};

// Step n leads from version n to version n + 1.
std::span<const SchemaStep> SchemaSteps();

}  // namespace waggle
