// By hand into a ledger: a request that somebody signed elsewhere, appended by the node that
// sequences the ledger.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "store/ledger_store.h"

namespace waggle {

struct SubmittedRequest {
  std::uint64_t sequence = 0;  // of its entry
  bool was_there = false;      // since an earlier call: nothing was appended
  LedgerEvents events;         // empty if it was there
};
using SubmitAnswer = std::variant<SubmittedRequest, LedgerRefused>;

// The text of a request's file: hexadecimal, as `waggle referee` writes it. Blame::kPeer.
Result<LedgerRequest> ParseRequestText(std::string_view text);

// Whether the request is good, by the same state machine as any; what it says no to changes
// nothing. On disk, whole, when this returns. A request that is in the log already is not appended
// again. check: what this ledger's readers ask of an entry beyond the state machine; a text says
// why they would not believe it, and is refused as kNotAllowed. Blame::kOperator: no ledger there,
// another writer (a host that runs), a signer that is not its sequencer. Blame::kMachine: a log
// that does not hold, the disk.
using ReadersCheck =
    std::function<std::optional<std::string>(const Ledger& ledger, const LedgerRequest& request)>;
Result<SubmitAnswer> SubmitRequest(const std::string& where, const LedgerRequest& request,
                                   const Signer& sequencer, std::uint64_t now_ms,
                                   const ReadersCheck& check = nullptr);

}  // namespace waggle
