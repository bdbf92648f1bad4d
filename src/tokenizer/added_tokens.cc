#include "tokenizer/added_tokens.h"

#include "tokenizer/unicode.h"

namespace waggle {
namespace {

bool EndsWithWord(std::string_view text) {
  std::size_t at = text.size();
  while (at > 0 && text.size() - at < 4) {
    --at;
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80) break;
  }
  return at < text.size() && unicode::IsWord(unicode::Decode(text, at).code_point);
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && unicode::IsWord(unicode::Decode(text, 0).code_point);
}

std::size_t SpacesAtStart(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const unicode::Char c = unicode::Decode(text, at);
    if (unicode::ClassOf(c.code_point) != unicode::Class::kSpace) break;
    at += c.length;
  }
  return at;
}

// Where the white space at the end of text begins.
std::size_t SpacesAtEnd(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0) {
    std::size_t at = begin - 1;
    while (at > 0 && begin - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    const unicode::Char c = unicode::Decode(text, at);
    if (at + c.length != begin || unicode::ClassOf(c.code_point) != unicode::Class::kSpace) break;
    begin = at;
  }
  return begin;
}

}  // namespace

std::uint32_t AddedTokenMatcher::Child(std::uint32_t node, char byte) const {
  std::uint32_t at = nodes_[node].child;
  while (at != 0 && nodes_[at].byte != byte) at = nodes_[at].sibling;
  return at;
}

void AddedTokenMatcher::Add(const AddedToken& token, std::string_view pattern) {
  if (nodes_.empty()) nodes_.emplace_back();
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char byte = pattern[i];
    std::uint32_t& root_child = first_[static_cast<unsigned char>(byte)];
    std::uint32_t next = i == 0 ? root_child : Child(node, byte);
    if (next == 0) {
      next = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({0, i == 0 ? 0 : nodes_[node].child, -1, byte});
      (i == 0 ? root_child : nodes_[node].child) = next;
    }
    node = next;
  }
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::int32_t AddedTokenMatcher::LongestAt(std::string_view text, std::size_t at,
                                          std::size_t* length) const {
  std::int32_t found = -1;
  std::uint32_t node = first_[static_cast<unsigned char>(text[at])];
  for (std::size_t i = at + 1; node != 0; ++i) {
    if (nodes_[node].token >= 0) {
      found = nodes_[node].token;
      *length = i - at;
    }
    if (i >= text.size()) break;
    node = Child(node, text[i]);
  }
  return found;
}

void AddedTokenMatcher::Split(std::string_view text, std::vector<AddedSegment>& out) const {
  std::size_t plain = 0;  // where the plain text not yet written begins
  for (std::size_t at = 0; !nodes_.empty() && at < text.size();) {
    std::size_t length = 0;
    const std::int32_t found = LongestAt(text, at, &length);
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[found];
    std::size_t begin = at, end = at + length;
    at = end;
    if (token.single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end))))
      continue;
    if (token.lstrip) begin = plain + SpacesAtEnd(text.substr(plain, begin - plain));
    if (token.rstrip) end += SpacesAtStart(text.substr(end));
    if (begin > plain) out.push_back({-1, text.substr(plain, begin - plain)});
    out.push_back({token.id, text.substr(begin, end - begin)});
    plain = at = end;
  }
  if (plain < text.size()) out.push_back({-1, text.substr(plain)});
}

}  // namespace waggle
