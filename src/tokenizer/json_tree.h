// A parsed JSON text as one flat array: bounded depth, bounded size, duplicate keys refused, key
// order kept. For files of a million entries from strangers, where a general document tree costs
// too much and forgives too much.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

class JsonTree;

// One value. Cheap to copy; lives as long as its tree.
class JsonValue {
 public:
  enum class Type : std::uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };

  Type type() const;
  bool IsNull() const { return type() == Type::kNull; }
  bool Exists() const { return tree_ != nullptr; }
  std::string_view text() const;  // kString
  bool boolean() const;           // kBool
  std::int64_t integer() const;   // kInteger
  std::size_t size() const;       // entries of an array or object
  std::string_view key() const;   // inside an object
  // The member, or one that does not exist (also when this is no object).
  JsonValue operator[](std::string_view key) const;
  // Calls visit(JsonValue) for each entry until it fails.
  template <class Visit>
  Status ForEach(Visit visit) const {
    for (JsonValue at = First(); at.Exists(); at = at.Next()) WG_TRY(visit(at));
    return {};
  }

 private:
  friend class JsonTree;
  JsonValue(const JsonTree* tree, std::uint32_t index) : tree_(tree), index_(index) {}
  JsonValue First() const;
  JsonValue Next() const;

  const JsonTree* tree_ = nullptr;
  std::uint32_t index_ = 0;
};

class JsonTree {
 public:
  static constexpr std::size_t kTextMax = 64u << 20, kNodesMax = 6'000'000, kDepthMax = 32;

  // Errors begin with `name` and say at which byte.
  static Result<JsonTree> Parse(std::string_view text, std::string_view name);
  JsonValue root() const { return {this, 0}; }

 private:
  friend class JsonValue;
  friend class JsonBuilder;
  struct Slice {
    std::uint32_t offset = 0, length = 0;
  };
  struct Node {
    JsonValue::Type type = JsonValue::Type::kNull;
    Slice key, text;
    std::uint32_t first = 0, next = 0;  // child and sibling; 0: none
    std::int64_t integer = 0;           // also bool, and the number of entries
  };
  std::string_view View(Slice slice) const { return {arena_.data() + slice.offset, slice.length}; }

  std::vector<Node> nodes_;
  std::string arena_;
};

}  // namespace waggle
