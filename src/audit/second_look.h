// A validator's memory of what it was shown, on disk, until its epoch is settled: a host that shows
// a canary afterwards shows no items any more. Driver; single-threaded.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <optional>

#include "audit/validator_core.h"

namespace waggle {

class SecondLook {
 public:
  explicit SecondLook(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Status Keep(const AuditItem& item);
  void Drop(std::uint64_t before);  // items of earlier epochs

  void Begin(const LookAgain& ask);
  bool idle() const { return asked_.empty(); }
  // Examines one item; what came of all of them, after the last.
  std::optional<LookedAgain> Next(const std::function<Examination(const AuditItem&)>& examine);

 private:
  struct Look {
    LookAgain ask;
    std::deque<std::filesystem::path> items;
    std::size_t looked = 0;
    std::optional<LookedAgain> shows;  // that the host errs, if nothing else is found
  };
  std::filesystem::path NameOf(std::uint64_t epoch, const NodeId& worker) const;

  std::filesystem::path folder_;
  std::deque<Look> asked_;
};

}  // namespace waggle
