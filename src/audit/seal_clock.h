// Whether the seal of an epoch was heard before its beacon was public. With drand the seal's time
// says which round draws the audits, and that time is the host's word: one whose clock lags by more
// than the margin knows the round when it seals, and can choose what to leave out. A node that was
// there when the seal came has a clock of its own. It can only tell, and nobody is blamed: the
// clock that is wrong may be its own, and a slow line looks the same.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ledger/ledger.h"

namespace waggle {

class SealClock {
 public:
  // A link to the host is open: what comes first is what was missed, and says nothing.
  void LinkUp(double unix_seconds) { since_ = unix_seconds; }
  // What the ledger has come to, whenever entries were heard; a line for people for each epoch
  // whose seal came too late.
  std::vector<std::string> Look(const LedgerRunState& run, double unix_seconds);

 private:
  std::optional<double> since_;
  std::uint64_t next_ = 0;  // the first epoch whose seal was not heard
};

}  // namespace waggle
