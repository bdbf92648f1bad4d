// Strings that become one token before anything else happens to the text: special tokens, mostly.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/strong.h"

namespace waggle {

inline constexpr std::size_t kAddedTokensMax = 1u << 17;
inline constexpr std::size_t kAddedTokenBytesMax = 512;

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool special = true;
  bool normalized = false;              // matched after normalisation instead of in the raw text
  bool single_word = false;             // only where no word character touches it
  bool lstrip = false, rstrip = false;  // swallows the white space on that side
};

struct AddedSegment {
  TokenId id;             // -1: plain text
  std::string_view text;  // the piece of the input
};

// Finds the leftmost, at each place longest, added tokens.
class AddedTokenMatcher {
 public:
  void Add(const AddedToken& token, std::string_view pattern);  // pattern must not be empty
  bool empty() const { return nodes_.empty(); }
  void Split(std::string_view text, std::vector<AddedSegment>& out) const;

 private:
  struct Node {
    std::uint32_t child = 0, sibling = 0;  // 0: none
    std::int32_t token = -1;               // index into tokens_
    char byte = 0;
  };
  std::int32_t LongestAt(std::string_view text, std::size_t at, std::size_t* length) const;
  std::uint32_t Child(std::uint32_t node, char byte) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;                 // nodes_[0] is the root
  std::array<std::uint32_t, 256> first_{};  // the root's children
};

}  // namespace waggle
