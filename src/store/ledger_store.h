// The ledger's log on disk: append-only entries with their signed heads, and a snapshot now and
// then. One SQL for SQLite and PostgreSQL, through SOCI (docs/adr/0020-ledger.md).
//
// What a sequencer answered is on disk before it answers, so a death at any instruction loses
// nothing that anybody was told. Opening replays: from the newest snapshot whose signed root the
// state really has, and every entry after it is verified as a stranger's log would be.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ledger/log.h"

namespace waggle {

class LedgerStore : public LedgerJournal {
 public:
  enum class Access : std::uint8_t { kRead, kWrite };
  // where: "postgresql://...", else the path of an SQLite file. A writer makes what is missing and
  // is the ledger's only one; readers may come at any time. Without a genesis: the one ledger that
  // is there. Blame::kOperator: a second writer, an SQLite file of another ledger, nothing there to
  // read, several ledgers and none named, a newer schema.
  static Result<std::unique_ptr<LedgerStore>> Open(const std::string& where, Access access,
                                                   const std::optional<LedgerGenesis>& genesis);

  virtual const LedgerGenesis& genesis() const = 0;
  // Records from this number on, `count` at most.
  virtual Result<std::vector<LogRecord>> Read(std::uint64_t first, std::uint64_t count) = 0;
  // The ledger as it stands. `whole`: from the very beginning, believing no snapshot.
  virtual Result<LedgerReplay> Load(bool whole = false, SignatureCheck check = Verify) = 0;
};

}  // namespace waggle
