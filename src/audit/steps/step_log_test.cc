// The log of signed steps and its windows: across restarts every accepted group stands in one
// window, and logs without windows still read.
#include "audit/steps/step_log.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"

namespace waggle {
namespace {

class Steps : public ::testing::Test {
 protected:
  Steps() { Open(); }
  void Open() { log_ = StepLog::Open(folder()).value(); }
  RunFolder folder() const { return RunFolder(folder_.path()); }
  void Accept(std::uint64_t lease) {
    GroupRecord record;
    record.lease.id = record.group.lease = LeaseId{lease};
    accepted_.push_back(std::move(record));
  }
  Result<SignedStep> Add(std::uint64_t version, std::uint8_t after = 1, bool windows = true) {
    StepLog::Accepted accepted;
    if (windows) {
      accepted = [this](std::uint64_t first) -> Result<std::vector<GroupRecord>> {
        return std::vector<GroupRecord>(accepted_.begin() + static_cast<std::ptrdiff_t>(first),
                                        accepted_.end());
      };
    }
    return log_->Add(key_, {.run = Hash256{3}, .version = PolicyVersion{version}, .after = {after}},
                     {}, accepted);
  }
  static std::vector<LeaseId> LeasesOf(const SignedStep& step) { return step.window->leases; }

  TempFolder folder_;
  const KeyPair key_ = KeyPair::FromSeed(std::array<std::uint8_t, 32>{1});
  std::unique_ptr<StepLog> log_;
  std::vector<GroupRecord> accepted_;
};

TEST_F(Steps, EveryAcceptedGroupStandsInOneWindow) {
  Accept(1);
  Accept(2);
  const SignedStep first = Add(0).value();
  EXPECT_EQ(LeasesOf(first), (std::vector<LeaseId>{LeaseId{1}, LeaseId{2}}));
  EXPECT_TRUE(WindowHolds(first, key_.id()));
  const SignedStep none = Add(1).value();
  EXPECT_TRUE(LeasesOf(none).empty());
  EXPECT_TRUE(WindowHolds(none, key_.id()));
  Accept(3);
  Open();  // after a restart it goes on where it was
  EXPECT_EQ(LeasesOf(Add(2).value()), std::vector<LeaseId>{LeaseId{3}});
  EXPECT_EQ(Add(0).value(), first);  // resumed further back: what was signed stays
  EXPECT_FALSE(Add(1, 9));
  const auto read = StepLog::Read(folder()).value();
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0], first);
}

TEST_F(Steps, WindowsThatAreForgedDoNotHold) {
  Accept(1);
  const SignedStep step = Add(0).value();
  SignedStep forged = step;
  forged.window->groups[0][0] ^= 1;
  EXPECT_FALSE(WindowHolds(forged, key_.id()));
  forged = step;
  forged.window->leases.clear();
  EXPECT_FALSE(WindowHolds(forged, key_.id()));
  forged = step;
  forged.window->window.claim.version = PolicyVersion{1};
  EXPECT_FALSE(WindowHolds(forged, key_.id()));
  EXPECT_FALSE(WindowHolds(step, KeyPair::FromSeed(std::array<std::uint8_t, 32>{2}).id()));
}

// A process that died between the window and its step signs the same window again.
TEST_F(Steps, AWindowWithoutItsStepIsTakenUp) {
  Accept(1);
  const SignedStep step = Add(0).value();
  std::filesystem::resize_file(folder_.path() / "steps.log", 0);
  Accept(2);
  Open();
  EXPECT_TRUE(log_->steps().empty());
  EXPECT_EQ(Add(0).value().window, step.window);
  EXPECT_EQ(LeasesOf(Add(1).value()), std::vector<LeaseId>{LeaseId{2}});
}

TEST_F(Steps, LogsOfProgramsWithoutWindowsRead) {
  ASSERT_TRUE(Add(0, 1, /*windows=*/false));
  std::filesystem::remove(folder_.path() / "windows.log");
  Accept(1);
  Open();
  ASSERT_EQ(log_->steps().size(), 1u);
  EXPECT_FALSE(log_->steps()[0].window);
  EXPECT_TRUE(WindowHolds(log_->steps()[0], key_.id()));
  EXPECT_EQ(LeasesOf(Add(1).value()), std::vector<LeaseId>{LeaseId{1}});
}

TEST_F(Steps, TornRecordsAreForgotten) {
  Accept(1);
  ASSERT_TRUE(Add(0));
  Accept(2);
  ASSERT_TRUE(Add(1));
  const auto windows = folder_.path() / "windows.log", steps = folder_.path() / "steps.log";
  std::filesystem::resize_file(windows, std::filesystem::file_size(windows) - 3);
  std::filesystem::resize_file(steps, std::filesystem::file_size(steps) - 3);
  Open();
  ASSERT_EQ(log_->steps().size(), 1u);
  EXPECT_EQ(LeasesOf(Add(1).value()), std::vector<LeaseId>{LeaseId{2}});
}

}  // namespace
}  // namespace waggle
