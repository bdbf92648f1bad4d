#include "tokenizer/json_tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace waggle {

using Type = JsonValue::Type;

// Receives nlohmann's SAX events; a false return stops the parser.
class JsonBuilder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  explicit JsonBuilder(JsonTree& tree) : tree_(tree) {}
  const std::string& problem() const { return problem_; }

  bool null() { return Add(Type::kNull); }
  bool boolean(bool value) { return Add(Type::kBool, value); }
  bool number_integer(number_integer_t value) { return Add(Type::kInteger, value); }
  bool number_unsigned(number_unsigned_t value) {
    return value > INT64_MAX ? Add(Type::kNumber)
                             : Add(Type::kInteger, static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) {
    // Zero matters (dropout 0.0); other fractions mean nothing to a tokenizer.
    return value == 0 ? Add(Type::kInteger) : Add(Type::kNumber);
  }
  bool string(string_t& value) {
    if (!Add(Type::kString)) return false;
    tree_.nodes_.back().text = Store(value);
    return true;
  }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return Open(Type::kObject); }
  bool start_array(std::size_t) { return Open(Type::kArray); }
  bool key(string_t& value) {
    key_ = Store(value);
    return true;
  }
  bool end_object() {
    const bool ok = KeysDiffer(open_.back().node);
    open_.pop_back();
    return ok;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    problem_ = fmt::format("not JSON at byte {}", position);
    return false;
  }

 private:
  struct Level {
    std::uint32_t node, last_child;
  };

  bool Add(Type type, std::int64_t value = 0) {
    auto& nodes = tree_.nodes_;
    if (nodes.size() >= JsonTree::kNodesMax) {
      problem_ = fmt::format("more than {} values", JsonTree::kNodesMax);
      return false;
    }
    const auto index = static_cast<std::uint32_t>(nodes.size());
    nodes.push_back({type, key_, {}, 0, 0, value});
    key_ = {};
    if (!open_.empty()) {
      Level& level = open_.back();
      (level.last_child == 0 ? nodes[level.node].first : nodes[level.last_child].next) = index;
      level.last_child = index;
      ++nodes[level.node].integer;
    }
    return true;
  }
  bool Open(Type type) {
    if (open_.size() >= JsonTree::kDepthMax) {
      problem_ = fmt::format("nested deeper than {}", JsonTree::kDepthMax);
      return false;
    }
    if (!Add(type)) return false;
    open_.push_back({static_cast<std::uint32_t>(tree_.nodes_.size() - 1), 0});
    return true;
  }
  JsonTree::Slice Store(const std::string& text) {
    const JsonTree::Slice slice{static_cast<std::uint32_t>(tree_.arena_.size()),
                                static_cast<std::uint32_t>(text.size())};
    tree_.arena_ += text;
    return slice;
  }
  bool KeysDiffer(std::uint32_t object) {
    std::vector<std::string_view> keys;
    for (std::uint32_t at = tree_.nodes_[object].first; at != 0; at = tree_.nodes_[at].next) {
      keys.push_back(tree_.View(tree_.nodes_[at].key));
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return true;
    problem_ = fmt::format("the key '{}' appears twice in one object", twice->substr(0, 100));
    return false;
  }

  JsonTree& tree_;
  std::vector<Level> open_;
  JsonTree::Slice key_;
  std::string problem_;
};

Result<JsonTree> JsonTree::Parse(std::string_view text, std::string_view name) {
  if (text.size() > kTextMax) {
    return Fail(Blame::kPeer, "{}: {} bytes, the limit is {}", name, text.size(), kTextMax);
  }
  JsonTree tree;
  JsonBuilder builder(tree);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder) || tree.nodes_.empty()) {
    return Fail(Blame::kPeer, "{}: {}", name,
                builder.problem().empty() ? "not JSON" : builder.problem());
  }
  return tree;
}

Type JsonValue::type() const { return tree_ == nullptr ? Type::kNull : tree_->nodes_[index_].type; }
std::string_view JsonValue::text() const { return tree_->View(tree_->nodes_[index_].text); }
std::string_view JsonValue::key() const { return tree_->View(tree_->nodes_[index_].key); }
bool JsonValue::boolean() const { return tree_->nodes_[index_].integer != 0; }
std::int64_t JsonValue::integer() const { return tree_->nodes_[index_].integer; }
std::size_t JsonValue::size() const {
  const Type kind = type();
  return kind == Type::kArray || kind == Type::kObject ? static_cast<std::size_t>(integer()) : 0;
}

JsonValue JsonValue::First() const {
  const std::uint32_t first = tree_ == nullptr ? 0 : tree_->nodes_[index_].first;
  return first == 0 ? JsonValue{nullptr, 0} : JsonValue{tree_, first};
}
JsonValue JsonValue::Next() const {
  const std::uint32_t next = tree_->nodes_[index_].next;
  return next == 0 ? JsonValue{nullptr, 0} : JsonValue{tree_, next};
}

JsonValue JsonValue::operator[](std::string_view name) const {
  if (type() != Type::kObject) return {nullptr, 0};
  for (JsonValue at = First(); at.Exists(); at = at.Next()) {
    if (at.key() == name) return at;
  }
  return {nullptr, 0};
}

}  // namespace waggle
