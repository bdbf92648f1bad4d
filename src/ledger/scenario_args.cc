#include "ledger/scenario_args.h"

#include <algorithm>

namespace waggle {
namespace {

constexpr std::size_t kNameMax = 64, kNamesMax = 4'096;
constexpr std::string_view kNobody = "nobody";

template <std::size_t N>
bool Hex(std::string_view text, std::array<std::uint8_t, N>& bytes) {
  if (!text.starts_with("0x")) return false;
  const auto raw = FromHex(text.substr(2));
  if (!raw || raw->size() != N) return false;
  std::copy(raw->begin(), raw->end(), bytes.begin());
  return true;
}

}  // namespace

bool ParseScenario(std::string_view text, Credits& amount) {
  const auto parsed = ParseCredits(text);
  if (parsed) amount = *parsed;
  return parsed.has_value();
}
bool ParseScenario(std::string_view text, Digest256& digest) {
  if (text.empty() || text.size() > kNameMax + 2) return false;
  if (text.starts_with("0x")) return Hex(text, digest);
  digest = ScenarioDigest(text);
  return true;
}
bool ParseScenario(std::string_view text, EvmAddress& address) { return Hex(text, address); }
bool ParseScenario(std::string_view text, bool& value) {
  value = text == "yes";
  return value || text == "no";
}
bool ParseScenario(std::string_view text, Finding& finding) {
  for (int n = 1; IsKnown(static_cast<Finding>(n)); ++n) {
    finding = static_cast<Finding>(n);
    if (text == ToString(finding)) return true;
  }
  return false;
}
bool ParseScenario(std::string_view text, BeaconKind& kind) {
  kind = text == "external" ? BeaconKind::kExternal : BeaconKind::kValidators;
  return text == "external" || text == "validators";
}

bool ParseScenarioTime(std::string_view text, std::uint64_t& ms) {
  std::uint64_t unit = 1;
  constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  for (const auto& [name, size] : kUnits) {
    if (!text.ends_with(name)) continue;
    unit = size;
    text.remove_suffix(name.size());
    break;
  }
  std::uint64_t count = 0;
  if (!ParseScenario(text, count) || count > (std::uint64_t{1} << 62) / unit) return false;
  ms = count * unit;
  return true;
}

const KeyPair& ScenarioNames::Key(std::string_view name) {
  const auto found = keys_.find(name);
  if (found != keys_.end()) return found->second;
  const auto made = keys_.emplace(std::string(name), ScenarioKey(name)).first;
  names_.emplace(made->second.id(), made->first);
  return made->second;
}

bool ScenarioNames::Find(std::string_view text, NodeId& node) {
  if (text.empty() || text.size() > kNameMax) return false;
  if (!keys_.contains(text) && keys_.size() >= kNamesMax) return false;
  node = text == kNobody ? NodeId{} : Key(text).id();
  return true;
}

std::string ScenarioNames::NameOf(const NodeId& node) const {
  if (node == NodeId{}) return std::string(kNobody);
  const auto found = names_.find(node);
  return found == names_.end() ? ToText(node) : found->second;
}

ScenarioArgs::ScenarioArgs(const ScenarioWords& words, ScenarioNames& names) : names_(names) {
  for (const std::string_view word : words) {
    const std::size_t equals = word.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      Fault(fmt::format("'{}': key=value", word));
      return;
    }
    const std::string key(word.substr(0, equals));
    if (!args_.emplace(key, word.substr(equals + 1)).second)
      Fault(fmt::format("{}: given twice", key));
  }
}

std::optional<std::string_view> ScenarioArgs::Take(const std::string& key) {
  const auto found = args_.find(key);
  if (found == args_.end()) return std::nullopt;
  const std::string_view text = found->second;
  args_.erase(found);
  return text;
}

void ScenarioArgs::Structs(std::uint8_t, const char* name, std::vector<NodeId>& values,
                           std::size_t limit) {
  ReadWith(prefix_ + name, [&](std::string_view text) {
    values.clear();
    return Each(text, limit,
                [&](std::string_view one) { return names_.Find(one, values.emplace_back()); });
  });
  std::ranges::sort(values);  // as terms want them; names do not sort as their keys do
}

std::string ScenarioArgs::Problem() const {
  if (!problem_.empty() || args_.empty()) return problem_;
  return fmt::format("{}: no such key here", args_.begin()->first);
}

std::string ScenarioArgs::SignerOf(const std::string& field, const std::string& otherwise) const {
  const auto found = signers_.find(field);
  return found == signers_.end() ? otherwise : found->second;
}

}  // namespace waggle
