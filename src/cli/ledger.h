// What the parts of `waggle ledger` share.
#pragma once

#include <string>
#include <vector>

#include "ledger/balance_tree.h"
#include "ledger/deterrence.h"
#include "ledger/log.h"

namespace waggle {

// A whole log: of a run's folder, an SQLite file, a PostgreSQL database, or exported lines.
struct LedgerLog {
  LedgerGenesis genesis;
  std::vector<LogRecord> records;
};
Result<LedgerLog> ReadLedger(const std::string& place);
Status ExportLedger(const std::string& place);
// The database of a place that is none of exported lines: a run's folder has its own.
std::string StoreOf(const std::string& place);

// A signed request's file, appended by whoever has the sequencer's key.
struct SubmitArguments {
  std::string place, file, key, passphrase_file;
};
Status SubmitToLedger(const SubmitArguments& arguments);

// A balance that who has only this text can check.
Status PrintProof(const LedgerLog& log, const NodeId& account, TreeOf what);
Status CheckProof(const std::string& path);

struct PlanArguments {
  BatchGame game;
  double stake = -1, chance = -1;  // negative: not given
  double factor = 1.5, floor = .02, gain = 0, slash = 1, whistle = 0;
  bool plot = false;
};
Status PrintPlan(const PlanArguments& arguments);

struct YumaArguments {
  bool json = false;
  std::uint64_t cap = 0;      // of GRAIL's scores
  std::uint32_t version = 2;  // of bonds
};
// `place`: a scenario (*.yuma), or where a ledger is.
Status PrintYuma(const std::string& place, const YumaArguments& arguments);

}  // namespace waggle
