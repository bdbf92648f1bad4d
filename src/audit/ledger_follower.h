// The ledger of a run as its host tells it, entry by entry, for whoever believes no entry that does
// not apply. A value without I/O. Single-threaded.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "ledger/log.h"
#include "protocol/messages.h"

namespace waggle {

class LedgerFollower {
 public:
  explicit LedgerFollower(const LedgerRun& run) : run_(run) {}

  // Why what it tells is no ledger of this run under this host, or nothing. `seen`: of each entry
  // that was not heard before, with what it did.
  using Seen = std::function<void(const LedgerEntry&, std::span<const LedgerEvent>)>;
  std::optional<std::string> Hear(const LedgerEntries& message, const NodeId& host,
                                  const Seen& seen);
  // A new link: what the ledger has come to since is not known.
  void Unlink() { caught_up_ = false; }
  bool caught_up() const { return caught_up_; }
  std::uint64_t next() const { return replay_ ? ledger()->state().sequence + 1 : 0; }

  const Ledger* ledger() const { return replay_ ? &replay_->ledger() : nullptr; }
  const LedgerRunState* run() const { return replay_ ? ledger()->FindRun(run_) : nullptr; }

 private:
  const LedgerRun run_;
  std::optional<LedgerReplay> replay_;
  bool caught_up_ = false;
};

}  // namespace waggle
