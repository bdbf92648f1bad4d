// waggle ledger submit: a request that somebody signed, into a ledger that this node sequences.
#include "store/ledger_submit.h"

#include <filesystem>

#include "audit/round_keeper.h"
#include "base/clock.h"
#include "base/files.h"
#include "cli/ledger.h"
#include "cli/node.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// Readers of a ledger look at drand's signature; the state machine does not.
std::optional<std::string> WhyReadersWouldNot(const Ledger& ledger, const LedgerRequest& request) {
  const auto* drand = std::get_if<BeaconExternal>(&request.body);
  if (drand == nullptr) return std::nullopt;
  const LedgerRunState* run = ledger.FindRun(drand->run);
  return run == nullptr ? std::nullopt : WhyNotBeacon(run->terms, *drand);
}

}  // namespace

Status SubmitToLedger(const SubmitArguments& a) {
  if (a.place.ends_with(".jsonl"))
    return Fail(Blame::kOperator, "{} is an exported ledger, to be read only: name the ledger",
                a.place);
  WG_ASSIGN(const std::string text, ReadFile(a.file, 2 * kEntryBytesMax + 16));
  const auto request = ParseRequestText(text);
  if (!request)
    return Fail(Blame::kPeer, "{}: no signed request: {}", a.file, request.error().what);
  // A key is not made up here: it is the sequencer's or nobody's.
  if (!fs::exists(a.key))
    return Fail(Blame::kOperator, "{}: no key is there; --key names the sequencer's", a.key);
  WG_ASSIGN(const KeyPair key, NodeKey(a.key, a.passphrase_file));
  const auto now = static_cast<std::uint64_t>(SystemClock().UnixSeconds() * 1'000);
  auto answer = SubmitRequest(StoreOf(a.place), *request, key, now, WhyReadersWouldNot);
  if (!answer) {
    Error error = std::move(answer.error());
    if (error.what.find("has a writer already") != std::string::npos)
      error.what +=
          ": a host that runs writes its ledger itself. End it (Ctrl-C; it drains), submit, then "
          "`waggle resume` it";
    return Forward(std::move(error));
  }
  if (const auto* refused = std::get_if<LedgerRefused>(&*answer))
    return Fail(Blame::kPeer, "{}: {} of {} is refused ({}): {}", a.file, NameOf(request->body),
                ToText(request->author), ToString(refused->why), refused->what);
  const SubmittedRequest& done = std::get<SubmittedRequest>(*answer);
  fmt::print("{} entry {}: {} of {}\n", done.was_there ? "is already" : "became", done.sequence,
             NameOf(request->body), ToText(request->author));
  for (const LedgerEvent& event : done.events)
    fmt::print("  {:<18}  {}{}\n", ToString(event.kind), ToText(event.who),
               event.amount.value == 0 ? "" : "  " + ToText(event.amount));
  return {};
}

}  // namespace waggle
