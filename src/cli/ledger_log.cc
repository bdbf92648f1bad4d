// Where `waggle ledger` reads logs from, how it writes them, and proofs of balances.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"
#include "cli/ledger.h"
#include "store/ledger_store.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLogBytesMax = std::size_t{1} << 30, kProofBytesMax = 1u << 20;
constexpr std::uint64_t kPage = 10'000;
constexpr std::size_t kGenesisBytesMax = 1'024;
constexpr std::size_t kProofSteps = 64;

std::string Hex(std::span<const std::uint8_t> bytes) { return "0x" + ToHex(bytes); }

// The text of a field, with or without 0x; empty if there is none.
std::string TextOf(const Json& json, const char* name) {
  const auto field = json.find(name);
  return field != json.end() && field->is_string() ? field->get<std::string>() : "";
}
Result<std::string> RawOf(std::string text, const char* name) {
  if (text.starts_with("0x")) text.erase(0, 2);
  auto raw = FromHex(text);
  if (!raw || raw->empty()) return Fail(Blame::kPeer, "{}: no hexadecimal bytes", name);
  return raw;
}
template <std::size_t N>
Status ReadInto(const Json& json, const char* name, std::array<std::uint8_t, N>& bytes) {
  WG_ASSIGN(const std::string raw, RawOf(TextOf(json, name), name));
  if (raw.size() != N) return Fail(Blame::kPeer, "{}: {} bytes, not {}", name, raw.size(), N);
  std::copy(raw.begin(), raw.end(), bytes.begin());
  return {};
}
Result<LedgerGenesis> GenesisOf(const Json& json) {
  WG_ASSIGN(const std::string raw, RawOf(TextOf(json, "genesis"), "genesis"));
  auto genesis = WireDecode<LedgerGenesis>(
      {reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size()}, kGenesisBytesMax);
  if (!genesis) return Fail(Blame::kPeer, "genesis: {}", genesis.error().what);
  return std::move(*genesis);
}
// A JSON object, or nothing: whatever else a line holds.
Json ObjectOf(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json::object();
}

Result<LedgerLog> ReadLines(const std::string& path) {
  WG_ASSIGN(const std::string text, ReadFile(path, kLogBytesMax));
  LedgerLog log;
  std::string_view rest = text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const Json json = ObjectOf(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto read = [&]() -> Status {
      if (number == 1) {
        WG_ASSIGN(log.genesis, GenesisOf(json));
        return {};
      }
      LogRecord& record = log.records.emplace_back();
      WG_ASSIGN(const std::string entry, RawOf(TextOf(json, "entry"), "entry"));
      record.entry.assign(entry.begin(), entry.end());
      if (json.contains("root")) WG_TRY(ReadInto(json, "root", record.root.emplace()));
      return ReadInto(json, "head", record.head_signature);
    };
    if (Status done = read(); !done)
      return Fail(Blame::kOperator, "{}:{}: no line of an exported ledger: {}", path, number,
                  done.error().what);
  }
  if (text.empty()) return Fail(Blame::kOperator, "{} is empty", path);
  return log;
}

Result<std::unique_ptr<LedgerStore>> OpenStore(const std::string& place) {
  return LedgerStore::Open(StoreOf(place), LedgerStore::Access::kRead, std::nullopt);
}

Json LineOf(const LogRecord& record) {
  Json json;
  if (const auto entry = DecodeEntry(record.entry)) {
    json["sequence"] = entry->sequence;
    json["at_ms"] = entry->at_ms;
    json["kind"] = NameOf(entry->request.body);
    json["author"] = ToText(entry->request.author);
    json["nonce"] = entry->request.nonce;
  }
  json["entry"] = Hex(record.entry);
  if (record.root) json["root"] = Hex(*record.root);
  json["head"] = Hex(record.head_signature);
  return json;
}

}  // namespace

std::string StoreOf(const std::string& place) {
  std::error_code ignored;
  return fs::is_directory(place, ignored) ? (fs::path(place) / "ledger.db").string() : place;
}

Result<LedgerLog> ReadLedger(const std::string& place) {
  if (place.ends_with(".jsonl")) return ReadLines(place);
  WG_ASSIGN(const auto store, OpenStore(place));
  LedgerLog log{store->genesis(), {}};
  for (;;) {
    WG_ASSIGN(auto records, store->Read(log.records.size() + 1, kPage));
    if (records.empty()) return log;
    std::move(records.begin(), records.end(), std::back_inserter(log.records));
  }
}

Status ExportLedger(const std::string& place) {
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  const Json first = {{"ledger", log.genesis.name},
                      {"id", Hex(IdOf(log.genesis).value)},
                      {"sequencer", ToText(log.genesis.sequencer)},
                      {"bridge", ToText(log.genesis.bridge)},
                      {"genesis", Hex(WireEncode(log.genesis, kGenesisBytesMax))}};
  constexpr auto kReplace = Json::error_handler_t::replace;  // a name may be no UTF-8
  fmt::print("{}\n", first.dump(-1, ' ', false, kReplace));
  for (const LogRecord& record : log.records)
    fmt::print("{}\n", LineOf(record).dump(-1, ' ', false, kReplace));
  return {};
}

Status PrintProof(const LedgerLog& log, const NodeId& account, TreeOf what) {
  std::size_t last = log.records.size();
  while (last > 0 && !log.records[last - 1].root) --last;
  if (last == 0)
    return Fail(Blame::kOperator,
                "no head of this ledger has a root yet: the sequencer signs one when an epoch is "
                "settled or a run closed");
  LedgerReplay replay(log.genesis);
  for (std::size_t i = 0; i < last; ++i) WG_TRY(replay.Feed(log.records[i]));
  const Ledger& ledger = replay.ledger();
  const LedgerAccount* found = ledger.AccountOf(account);
  if (found == nullptr)
    return Fail(Blame::kOperator, "{} has no account after entry {}, the last with a signed root",
                ToText(account), last);
  const EvmAddress address = AddressOf(account);
  const Credits amount = AmountOf(*found, what);
  const Digest256 leaf = BalanceLeaf(address, amount);
  const StateRoots roots = RootsOf(ledger.state());
  Json proof = Json::array();
  for (const Digest256& sibling : BalanceTree(LeavesOf(ledger.state(), what)).Prove(leaf))
    proof.push_back(Hex(sibling));
  const LedgerHead head = replay.Head();
  const Json json = {{"account", ToText(account)},
                     {"address", Hex(address)},
                     {"of", what == TreeOf::kEarned ? "earned" : "balances"},
                     {"amount", amount.value},
                     {"leaf", Hex(leaf)},
                     {"proof", proof},
                     {"state", Hex(roots.state)},
                     {"balances", Hex(roots.balances)},
                     {"earned", Hex(roots.earned)},
                     {"root", Hex(roots.Root())},
                     {"genesis", Hex(WireEncode(log.genesis, kGenesisBytesMax))},
                     {"sequence", head.sequence},
                     {"at_ms", head.at_ms},
                     {"chain", Hex(head.chain)},
                     {"head", Hex(log.records[last - 1].head_signature)}};
  fmt::print("{}\n", json.dump(2));
  return {};
}

Status CheckProof(const std::string& path) {
  WG_ASSIGN(const std::string text, ReadFile(path, kProofBytesMax));
  const Json json = ObjectOf(text);
  const auto wrong = [&](std::string_view why) {
    return Fail(Blame::kOperator, "{}: this proves nothing: {}", path, why);
  };
  StateRoots roots;
  LedgerHead head;
  std::vector<Digest256> siblings;
  LedgerGenesis genesis;
  const auto number = [&](const char* name) {
    const auto field = json.find(name);
    return field != json.end() && field->is_number_unsigned() ? field->get<std::uint64_t>()
                                                              : std::uint64_t{0};
  };
  const auto read = [&]() -> Status {
    WG_ASSIGN(genesis, GenesisOf(json));
    WG_TRY(ReadInto(json, "state", roots.state));
    WG_TRY(ReadInto(json, "balances", roots.balances));
    WG_TRY(ReadInto(json, "earned", roots.earned));
    WG_TRY(ReadInto(json, "chain", head.chain));
    WG_TRY(ReadInto(json, "head", head.signature));
    if (!json.contains("proof") || !json["proof"].is_array() || json["proof"].size() > kProofSteps)
      return Fail(Blame::kPeer, "proof: no list of hashes");
    for (const Json& step : json["proof"]) {
      const Json row = {{"proof", step}};
      WG_TRY(ReadInto(row, "proof", siblings.emplace_back()));
    }
    return {};
  };
  if (Status done = read(); !done) return wrong(done.error().what);
  WG_ASSIGN(const NodeId account, ParseNodeId(TextOf(json, "account")));
  const bool earned = TextOf(json, "of") == "earned";
  const std::uint64_t amount = number("amount");
  if (amount > static_cast<std::uint64_t>(kSupplyMax.value)) return wrong("no such amount exists");
  const Credits credits{static_cast<std::int64_t>(amount)};
  const Digest256 leaf = BalanceLeaf(AddressOf(account), credits);
  if (!BalanceHolds(earned ? roots.earned : roots.balances, leaf, siblings))
    return wrong("the hashes do not lead from this account and amount to the root of the tree");
  head.ledger = IdOf(genesis);
  head.sequence = number("sequence");
  head.at_ms = number("at_ms");
  head.root = roots.Root();
  if (!HeadHolds(genesis, head, Verify))
    return wrong("the sequencer did not sign a head with these roots");
  fmt::print("{} {} {} after entry {} of ledger {}\nsigned by its sequencer {}\n", ToText(account),
             earned ? "had earned" : "had", ToText(credits), head.sequence, genesis.name,
             ToText(genesis.sequencer));
  return {};
}

}  // namespace waggle
