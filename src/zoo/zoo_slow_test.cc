// A hundred thousand honest audits across thread counts, instruction sets and batch shapes: no
// accusation, no fault.
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "zoo/honest_audits.h"

namespace waggle {
namespace {

TEST(HonestWork, IsNeverAccusedInAHundredThousandAudits) {
  const TempFolder folder;
  const auto run = ZooRun::Open(ZooRecipe(), folder.path(), BestOps(), 1).value();
  const AuditCounts counts = HonestAudits(*run, 100'000).value();
  EXPECT_GE(counts.audits, 100'000u);
  EXPECT_EQ(counts.accusations, 0u) << counts.first;
  EXPECT_EQ(counts.faults, 0u) << counts.first;
  RecordProperty("groups", static_cast<int>(counts.groups));
  RecordProperty("tokens", static_cast<int>(counts.tokens));
}

}  // namespace
}  // namespace waggle
