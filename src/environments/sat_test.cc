#include "environments/sat.h"

#include <gtest/gtest.h>

#include "crypto/py_random.h"
#include "environments/registry.h"

namespace waggle {
namespace {

Score GradeText(const Environment& environment, const Task& task, std::string text) {
  return environment.Grade(task, {{.role = Role::kAssistant,
                                   .content = std::move(text),
                                   .tool_calls = {},
                                   .tool_call_id = {}}});
}

std::vector<std::uint8_t> Bytes(std::string_view text) { return {text.begin(), text.end()}; }

TEST(PyRandom, KnownAnswers) {
  PyRandom rng = PyRandom::FromBytes(Bytes("waggle"));
  EXPECT_EQ(rng.NextU32(), 2395736486u);
  EXPECT_EQ(rng.NextU32(), 2731367201u);
  EXPECT_EQ(rng.NextU32(), 1624804590u);
  EXPECT_EQ(rng.Random(), 0.6087720200522617);
  EXPECT_EQ(rng.RandInt(4, 15), 10);
  PyRandom integer = PyRandom::FromInteger(42);
  EXPECT_EQ(integer.NextU32(), 2746317213u);
  EXPECT_EQ(integer.NextU32(), 478163327u);
  std::vector<int> items = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  PyRandom::FromBytes(Bytes("waggle")).Shuffle(items);
  EXPECT_EQ(items, (std::vector<int>{0, 5, 1, 2, 7, 4, 3, 9, 6, 8}));
  EXPECT_EQ(PyRandom::FromBytes(Bytes("waggle")).Sample(100, 5),
            (std::vector<std::uint32_t>{71, 81, 48, 77, 51}));
  EXPECT_EQ(PyRandom::FromBytes(Bytes("waggle")).Sample(10, 5),
            (std::vector<std::uint32_t>{8, 6, 9, 3, 4}));
  EXPECT_EQ(PyRandom::FromInteger(17151735302956969823ull).Sample(50, 4),
            (std::vector<std::uint32_t>{45, 20, 33, 7}));
}

TEST(Sat, NetworkLawKnownAnswer) {
  const Cnf expected{7,
                     {{-5, 2, 4},
                      {-4, -7, 2},
                      {1, -4, -3},
                      {7, 2, -6},
                      {2, 1, -7},
                      {2, -1, -3},
                      {-5, 1, -4},
                      {4, 1, 2},
                      {3, 1, 2},
                      {-6, -3, -2},
                      {-3, 1, 5},
                      {6, -1, 7}}};
  EXPECT_EQ(NetworkSatInstance(42), expected);
}

TEST(Sat, LawSeedsAreTheTaskSeeds) {
  const auto environment =
      BuiltinEnvironments().Make("sat", {"law=network", "law_seeds=true", "style=compact"}).value();
  const Task task = environment->MakeTask(42).value();
  EXPECT_EQ(
      task.prompt[0].content,
      "7,-5 2 4,-4 -7 2,1 -4 -3,7 2 -6,2 1 -7,2 -1 -3,-5 1 -4,4 1 2,3 1 2,-6 -3 -2,-3 1 5,6 -1 7=");
  EXPECT_NE(environment->MakeTask(42 | kHeldOutBit)->prompt, task.prompt);
}

TEST(Cnf, SolverAgreesWithEnumeration) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Cnf cnf = NetworkSatInstance(seed);
    // Twice the clauses of another seed on top make a good share unsatisfiable.
    for (std::uint64_t extra = 1000; extra < 1004; ++extra) {
      for (const auto& clause : NetworkSatInstance(seed + extra).clauses) {
        bool fits = true;
        for (const auto literal : clause)
          fits = fits && static_cast<std::uint32_t>(std::abs(literal)) <= cnf.variables;
        if (fits) cnf.clauses.push_back(clause);
      }
    }
    std::vector<bool> first;
    for (std::uint32_t bits = 0; bits < (1u << cnf.variables) && first.empty(); ++bits) {
      std::vector<bool> assignment(cnf.variables);
      for (std::uint32_t v = 0; v < cnf.variables; ++v)
        assignment[v] = (bits >> (cnf.variables - 1 - v)) & 1;
      if (Satisfies(cnf, assignment)) first = assignment;
    }
    const SearchResult found = SolveCnf(cnf);
    EXPECT_EQ(found.status, first.empty() ? Satisfiability::kUnsat : Satisfiability::kSat);
    EXPECT_EQ(found.model, first) << "the smallest model";
  }
}

TEST(Cnf, DimacsRefusals) {
  EXPECT_TRUE(ParseDimacs("c hi\np cnf 2 1\n1\n-2 0\n%\n0\n"));
  EXPECT_EQ(ParseDimacs("p cnf 0 1\n0\n")->clauses.size(), 1u);
  for (const char* bad :
       {"", "1 0\n", "p cnf 2\n", "p cnf 2 1\n3 0\n", "p cnf 2 2\n1 0\n", "p cnf 2 1\nx 0\n",
        "p cnf -1 0\n", "p cnf 99999999999 1\n", "p cnf 9999999 0\n", "p cnf 1 0\np cnf 1 0\n",
        "p cnf 2 1\n-2147483648 0\n"}) {
    EXPECT_FALSE(ParseDimacs(bad)) << bad;
  }
}

TEST(Cnf, Models) {
  EXPECT_EQ(ParseModel("s SATISFIABLE\nv 1 -2\nv 3 0\n", 3),
            (std::vector<bool>{true, false, true}));
  EXPECT_EQ(ParseModel("2", 3), (std::vector<bool>{false, true, false}));
  for (const char* bad : {"4", "1 -1", "x", "-2147483648", "99999999999"})
    EXPECT_FALSE(ParseModel(bad, 3)) << bad;
}

Task FixedTask(const Environment& environment) {
  Task task = environment.MakeTask(0).value();
  task.info_json = R"({"cnf":"p cnf 4 2\n1 2 3 0\n-1 -2 4 0\n"})";
  return task;
}

TEST(Sat, GradesBits) {
  const auto environment = BuiltinEnvironments().Make("sat", {"clauses_weight=0.2"}).value();
  const Task task = FixedTask(*environment);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "1000").Total().value(), 1.0);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "0 0 1 0").Total().value(), 1.0);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "1100").Total().value(), 0.1 + 0.2 * 0.5);
  for (const char* malformed : {"", "100", "10000", "1000x", "10 00 1", "2000", "true"}) {
    EXPECT_EQ(GradeText(*environment, task, malformed).Total().value(), 0.0) << malformed;
  }
  Task broken = task;
  broken.info_json = R"({"cnf":"p cnf 4 9\n"})";
  EXPECT_FALSE(GradeText(*environment, broken, "1000").Total().has_value());
}

TEST(Sat, NetworkRewardSheet) {
  const auto environment = BuiltinEnvironments().Make("sat", {"style=tags"}).value();
  const Task task = FixedTask(*environment);
  const std::string thought = "<start_working_out>x1 is true</end_working_out>";
  const auto total = [&](const std::string& text) {
    return GradeText(*environment, task, text).Total().value();
  };
  EXPECT_DOUBLE_EQ(total(thought + "\n<SOLUTION>1 0 0 0</SOLUTION>\n"), 1.135);
  EXPECT_DOUBLE_EQ(total(thought + "<SOLUTION>1 1 0 0</SOLUTION>"), 0.135);
  // 50 characters behind: no strict format, 0.2 - 0.05 for the rest.
  EXPECT_DOUBLE_EQ(total(thought + "<SOLUTION>1 0 0 0</SOLUTION>" + std::string(50, 'x')),
                   1.0 + 0.02 + 0.045 + 0.015 + 0.005);
  EXPECT_DOUBLE_EQ(total("<SOLUTION>1000</SOLUTION>"), 1.0 + 0.045 + 0.02 + 0.005);
  EXPECT_DOUBLE_EQ(total("<SOLUTION>1 0</SOLUTION>"), -0.2 + 0.02 + 0.005);
  EXPECT_DOUBLE_EQ(total("<start_working_out></end_working_out><SOLUTION>maybe</SOLUTION>"),
                   -0.2 + 0.02);
  EXPECT_DOUBLE_EQ(total("1000"), -0.2);
  EXPECT_FALSE(GradeText(*environment, task, "1000").correct);
}

}  // namespace
}  // namespace waggle
