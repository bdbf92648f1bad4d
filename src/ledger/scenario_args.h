// The `key=value` part of a scenario's lines, as fields of a request. This folder's own.
#pragma once

#include <charconv>
#include <map>
#include <string>
#include <string_view>

#include "base/hex.h"
#include "ledger/entries.h"
#include "ledger/scenario.h"

namespace waggle {

using ScenarioWords = std::vector<std::string_view>;

// Values as scenarios write them. False, and nothing changed, for anything else.
bool ParseScenario(std::string_view text, Credits& amount);
bool ParseScenario(std::string_view text, Digest256& digest);
bool ParseScenario(std::string_view text, EvmAddress& address);
bool ParseScenario(std::string_view text, bool& value);
bool ParseScenario(std::string_view text, Finding& finding);
bool ParseScenario(std::string_view text, BeaconKind& kind);
bool ParseScenarioTime(std::string_view text, std::uint64_t& ms);  // 5, 5ms, 5s, 5m, 5h, 5d
template <std::unsigned_integral T>
bool ParseScenario(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

// The people of a scenario, as they come up.
class ScenarioNames {
 public:
  // REQUIRES a name within the limit (Find() tells).
  const KeyPair& Key(std::string_view name);
  // `nobody` is a name too: all zero. False for none, and for too many.
  bool Find(std::string_view text, NodeId& node);
  std::string NameOf(const NodeId& node) const;  // its address if it did not come up

 private:
  std::map<std::string, KeyPair, std::less<>> keys_;
  std::map<NodeId, std::string> names_;
};

// Reads fields by their names; what a line does not name keeps its value. Who signed what is kept
// for later, when all else is known.
class ScenarioArgs {
 public:
  ScenarioArgs(const ScenarioWords& words, ScenarioNames& names);  // borrows both

  template <class T>
  void operator()(std::uint8_t, const char* name, T& value) {
    const std::string key = prefix_ + name;
    if constexpr (std::is_same_v<T, Signature>) {
      if (const auto text = Take(key)) signers_[key] = *text;
    } else if constexpr (requires { ParseScenario(std::string_view{}, value); }) {
      if constexpr (std::is_same_v<T, std::uint64_t>) {
        if (key.ends_with("_ms")) {
          ReadWith(key, [&](std::string_view text) { return ParseScenarioTime(text, value); });
          return;
        }
      }
      ReadWith(key, [&](std::string_view text) { return ParseScenario(text, value); });
    } else if constexpr (std::is_same_v<T, NodeId>) {
      ReadWith(key, [&](std::string_view text) { return names_.Find(text, value); });
    } else if constexpr (requires { value.value; }) {
      (*this)(0, name, value.value);  // Bps, LedgerRun
    } else {
      Nested(name, value);
    }
  }
  template <class T>
  void Numbers(std::uint8_t, const char* name, std::vector<T>& values, std::size_t limit) {
    ReadWith(prefix_ + name, [&](std::string_view text) {
      return Each(text, limit,
                  [&](std::string_view one) { return ParseScenario(one, values.emplace_back()); });
    });
  }
  void Structs(std::uint8_t, const char* name, std::vector<NodeId>& values, std::size_t limit);

  std::optional<std::string_view> Take(const std::string& key);
  // "", or what is wrong: a value that is none, or a key that nobody asked for.
  std::string Problem() const;
  // The name that a signature's field was given, or `otherwise`.
  std::string SignerOf(const std::string& field, const std::string& otherwise) const;
  void Fault(std::string what) {
    if (problem_.empty()) problem_ = std::move(what);
  }

 private:
  template <class F>
  void ReadWith(const std::string& key, F&& read) {
    const auto text = Take(key);
    if (text && !read(*text)) Fault(fmt::format("{}={}: no such value", key, *text));
  }
  template <class F>
  static bool Each(std::string_view text, std::size_t limit, F&& read) {
    for (std::size_t count = 0;; ++count) {
      const std::size_t comma = text.find(',');
      if (count == limit || !read(text.substr(0, comma))) return false;
      if (comma == std::string_view::npos) return true;
      text.remove_prefix(comma + 1);
    }
  }
  template <class T>
  void Nested(std::string_view name, T& value) {
    const std::string before = prefix_;
    if (name == "first" || name == "second") prefix_ += std::string(name) + ".";
    Fields(value, *this);
    prefix_ = before;
  }

  ScenarioNames& names_;
  std::map<std::string, std::string_view> args_;  // not read yet
  std::map<std::string, std::string> signers_;
  std::string prefix_, problem_;
};

}  // namespace waggle
