// The zoo: every cheat meets every tier, each cell is what it is said to be, honest twins pass
// everywhere, and docs/security.md holds the table that this makes.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/check.h"
#include "base/test_folder.h"
#include "zoo/honest_audits.h"
#include "zoo/matrix.h"
#include "zoo/policies.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

std::string Read(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class Zoo : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    auto matrix = RunZoo({.cache = folder_->path(),
                          .ops = &BestOps(),
                          .threads = 2,
                          .only = {},
                          .tiers = {},
                          .seconds = nullptr});
    Check(matrix.has_value(), matrix ? "the zoo runs" : matrix.error().what);
    matrix_ = new Matrix(std::move(*matrix));
    if (std::getenv("WAGGLE_SAY") != nullptr)
      fmt::print(stderr, "{}\n{}", MatrixText(*matrix_), MatrixMarkdown(*matrix_));
  }
  static void TearDownTestSuite() {
    delete matrix_;
    delete folder_;
  }
  static TempFolder* folder_;
  static Matrix* matrix_;
};
TempFolder* Zoo::folder_ = nullptr;
Matrix* Zoo::matrix_ = nullptr;

TEST_F(Zoo, EveryCellIsAsExpected) {
  EXPECT_GE(matrix_->rows.size(), 30u);
  EXPECT_EQ(matrix_->rows.size(), AllAdversaries().size());
  for (const std::string& wrong : matrix_->wrong) ADD_FAILURE() << wrong;
}

TEST_F(Zoo, NobodyHonestIsCaught) {
  EXPECT_EQ(matrix_->honest.size(), 6u);
  for (const Row& row : matrix_->honest) {
    for (std::size_t t = 0; t < row.cells.size(); ++t)
      EXPECT_NE(row.cells[t].outcome, ZooOutcome::kCaught) << row.adversary.name << ZooTiers()[t];
  }
}

// Whatever was sampled otherwise than asked is found by computing it again, and proved to others.
TEST_F(Zoo, TheExactTierCatchesWhatReexecutionCan) {
  const std::set<std::string_view> right = {// their work is bit for bit what the run asked for
                                            "neighbour-version", "version-shopping",
                                            "copied-verbatim",   "constant-toploc",
                                            "zero-sketch",       "unrelated-states"};
  for (const Row& row : matrix_->rows) {
    if (row.adversary.role != ZooRole::kWorker) continue;
    const Cell& cell = row.cells[TierNumber("exact")];
    if (right.contains(row.adversary.name)) {
      EXPECT_NE(cell.outcome, ZooOutcome::kCaught) << row.adversary.name;
    } else {
      EXPECT_EQ(cell.outcome, ZooOutcome::kCaught) << row.adversary.name << ": " << cell.found;
      // An answer of one token has no middle where its version could change.
      const double least = row.adversary.name == "span-shopping" ? 0.5 : 1.0;
      EXPECT_GE(cell.share, least) << row.adversary.name;
    }
  }
}

// What the rules say and what happens in the ledger are not far apart.
TEST_F(Zoo, DelaysAreThoseOfTheRules) {
  for (const Row& row : matrix_->rows) {
    const Cell& cell = row.cells[TierNumber("ledger")];
    if (cell.outcome != ZooOutcome::kCaught) continue;
    ASSERT_TRUE(cell.delay && cell.delay_simulated) << row.adversary.name;
    EXPECT_GE(*cell.delay_simulated, 1.0) << row.adversary.name;
    EXPECT_LE(*cell.delay_simulated, 2 * *cell.delay + 1) << row.adversary.name;
    EXPECT_GE(2 * *cell.delay_simulated, *cell.delay - 1) << row.adversary.name;
  }
}

TEST_F(Zoo, TheDocumentHoldsTheTables) {
  const char* source = std::getenv("WAGGLE_SOURCE");
  if (source == nullptr) GTEST_SKIP() << "no sources here";
  const std::string document = Read(std::filesystem::path(source) / "docs/security.md");
  EXPECT_NE(document.find(MatrixMarkdown(*matrix_)), std::string::npos)
      << "docs/security.md: put what `waggle zoo --markdown` prints there";
  for (const Row& row : matrix_->rows)
    EXPECT_NE(document.find("**" + std::string(row.adversary.name) + "**"), std::string::npos)
        << "docs/security.md does not explain " << row.adversary.name;
}

TEST(ZooNames, AreTold) {
  EXPECT_EQ(ZooTiers().size(), 16u);
  std::set<std::string_view> names;
  for (const Adversary& adversary : AllAdversaries()) {
    EXPECT_TRUE(names.insert(adversary.name).second) << adversary.name;
    EXPECT_FALSE(adversary.does.empty() || adversary.pays.empty()) << adversary.name;
    EXPECT_EQ(ExpectedOf(adversary.name).size(), ZooTiers().size()) << adversary.name;
  }
  EXPECT_FALSE(RunZoo({.cache = {}, .ops = &BestOps(), .only = {"nobody"}, .tiers = {}}));
  EXPECT_FALSE(RunZoo({.cache = {}, .ops = &BestOps(), .only = {}, .tiers = {"none"}}));
}

// One cheat against one tier needs nothing else; an expectation that is wrong is said.
TEST(ZooNames, ChooseWhatRuns) {
  const Matrix matrix =
      RunZoo({.cache = {}, .ops = &BestOps(), .only = {"equivocation"}, .tiers = {"ledger"}})
          .value();
  ASSERT_EQ(matrix.rows.size(), 1u);
  EXPECT_EQ(matrix.rows[0].cells[TierNumber("ledger")].outcome, ZooOutcome::kCaught);
  EXPECT_EQ(matrix.rows[0].cells[TierNumber("exact")].outcome, ZooOutcome::kNone);
}

TEST(HonestWork, IsNeverAccused) {
  const TempFolder folder;
  const auto run = ZooRun::Open(ZooRecipe(/*tiny=*/true), folder.path(), BestOps(), 1);
  ASSERT_TRUE(run) << run.error().what;
  const auto audited = HonestAudits(**run, 2'000);
  ASSERT_TRUE(audited) << audited.error().what;
  const AuditCounts& counts = *audited;
  EXPECT_GE(counts.audits, 2'000u);
  EXPECT_EQ(counts.accusations, 0u) << counts.first;
  EXPECT_EQ(counts.faults, 0u) << counts.first;
}

}  // namespace
}  // namespace waggle
