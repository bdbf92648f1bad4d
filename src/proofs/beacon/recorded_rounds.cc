#include "proofs/beacon/recorded_rounds.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/hex.h"

namespace waggle {
namespace {

using Json = nlohmann::json;

// A field of hexadecimal text; nothing where it is absent or null.
Result<std::optional<std::vector<std::uint8_t>>> HexField(const Json& row, const char* name) {
  const auto at = row.find(name);
  if (at == row.end() || at->is_null()) return std::nullopt;
  if (!at->is_string()) return Fail(Blame::kPeer, "field '{}' must be a text", name);
  const auto raw = FromHex(at->get_ref<const std::string&>());
  if (!raw) return Fail(Blame::kPeer, "field '{}' is not hexadecimal", name);
  return std::vector<std::uint8_t>(raw->begin(), raw->end());
}

}  // namespace

Result<DrandRound> ParseDrandRound(const DrandNetwork& network, std::string_view json) {
  if (json.size() > kRoundLineBytesMax)
    return Fail(Blame::kPeer, "a round of {} bytes, limit {}", json.size(), kRoundLineBytesMax);
  bool deep = false;
  const auto flat = [&deep](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > 1;
    return !deep;
  };
  const Json row = Json::parse(json, flat, /*allow_exceptions=*/false);
  if (deep || row.is_discarded() || !row.is_object())
    return Fail(Blame::kPeer, "not a flat JSON object");
  const auto number = row.find("round");
  if (number == row.end() || !number->is_number_unsigned())
    return Fail(Blame::kPeer, "field 'round' must be a whole number");

  DrandRound round{number->get<std::uint64_t>()};
  WG_ASSIGN(auto signature, HexField(row, "signature"));
  WG_ASSIGN(auto previous, HexField(row, "previous_signature"));
  WG_ASSIGN(const auto randomness, HexField(row, "randomness"));
  if (!signature) return Fail(Blame::kPeer, "field 'signature' is missing");
  round.signature = std::move(*signature);
  if (previous) round.previous = std::move(*previous);
  WG_ASSIGN(round.randomness,
            VerifyDrandRound(network, round.round, round.signature, round.previous));
  if (randomness && !std::ranges::equal(*randomness, round.randomness))
    return Fail(Blame::kPeer, "round {}: field 'randomness' is not the hash of the signature",
                round.round);
  return round;
}

Result<RecordedRounds> RecordedRounds::Parse(const DrandNetwork& network, std::string_view text) {
  if (text.size() > kRoundFileBytesMax)
    return Fail(Blame::kPeer, "{} bytes of rounds, limit {}", text.size(), kRoundFileBytesMax);
  RecordedRounds rounds;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view row = text.substr(at, end - at);
    at = end + 1;
    ++line;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (rounds.size() == kRecordedRoundsMax)
      return Fail(Blame::kPeer, "line {}: more than {} rounds", line, kRecordedRoundsMax);
    auto round = ParseDrandRound(network, row);
    if (!round) return Fail(Blame::kPeer, "line {}: {}", line, round.error().what);
    const std::uint64_t number = round->round;
    if (!rounds.rounds_.emplace(number, std::move(*round)).second)
      return Fail(Blame::kPeer, "line {}: round {} stands there twice", line, number);
  }
  return rounds;
}

const DrandRound* RecordedRounds::Find(std::uint64_t round) const {
  const auto at = rounds_.find(round);
  return at == rounds_.end() ? nullptr : &at->second;
}

}  // namespace waggle
