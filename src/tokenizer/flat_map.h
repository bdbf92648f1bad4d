// Two read-mostly hash maps with open addressing: byte strings to ids, and pairs of ids to merges.
// Both give up (return false) instead of probing far, so a file made of colliding keys is refused
// instead of taking quadratic time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong.h"

namespace waggle {

inline constexpr unsigned kProbesMax = 1024;

inline std::uint64_t HashBytes(std::string_view bytes) {
  constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15ull;
  std::uint64_t hash = bytes.size() * kMix;
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * kMix;
    hash ^= hash >> 29;
  };
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < left; ++i)
    word |= std::uint64_t{static_cast<unsigned char>(at[i])} << (8 * i);
  mix(word);
  return hash ^ (hash >> 32);
}

class StringIds {
 public:
  explicit StringIds(std::size_t expected = 0) { Grow(expected); }

  enum class Added { kNew, kDuplicate, kCrowded };
  Added Insert(std::string_view key, TokenId id) {
    if ((count_ + 1) * 2 > slots_.size()) Grow(count_ * 2 + 8);
    const std::uint64_t hash = HashBytes(key);
    std::size_t at = hash & mask_;
    for (unsigned probe = 0; slots_[at].id >= 0; at = (at + 1) & mask_) {
      if (Matches(slots_[at], hash, key)) return Added::kDuplicate;
      if (++probe > kProbesMax) return Added::kCrowded;
    }
    slots_[at] = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(arena_.size()),
                  static_cast<std::uint32_t>(key.size()), id};
    arena_ += key;
    ++count_;
    return Added::kNew;
  }
  // The id, or -1.
  TokenId Find(std::string_view key) const {
    const std::uint64_t hash = HashBytes(key);
    for (std::size_t at = hash & mask_; slots_[at].id >= 0; at = (at + 1) & mask_) {
      if (Matches(slots_[at], hash, key)) return slots_[at].id;
    }
    return -1;
  }
  std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint32_t hash = 0, offset = 0, length = 0;
    TokenId id = -1;
  };
  bool Matches(const Slot& slot, std::uint64_t hash, std::string_view key) const {
    return slot.hash == static_cast<std::uint32_t>(hash >> 32) && slot.length == key.size() &&
           std::memcmp(arena_.data() + slot.offset, key.data(), key.size()) == 0;
  }
  void Grow(std::size_t expected) {
    std::size_t size = 16;
    while (size < expected * 2) size *= 2;
    if (size <= slots_.size()) return;
    std::vector<Slot> old(size);
    old.swap(slots_);
    mask_ = size - 1;
    for (const Slot& slot : old) {
      if (slot.id < 0) continue;
      const std::uint64_t hash = HashBytes({arena_.data() + slot.offset, slot.length});
      std::size_t at = hash & mask_;
      while (slots_[at].id >= 0) at = (at + 1) & mask_;
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0, count_ = 0;
  std::string arena_;
};

inline constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
struct MergeRule {
  std::uint32_t rank = kNoRank;  // lower merges first
  TokenId result = -1;
};

class PairMerges {
 public:
  // Room for exactly `count` pairs.
  explicit PairMerges(std::size_t count = 0) {
    std::size_t size = 16;
    while (size < count * 2) size *= 2;
    slots_.resize(size);
    while ((std::uint64_t{1} << (64 - shift_)) < size) --shift_;
  }
  StringIds::Added Insert(TokenId a, TokenId b, MergeRule rule) {
    const std::uint64_t key = Key(a, b);
    std::size_t at = Home(key);
    for (unsigned probe = 0; slots_[at].rule.rank != kNoRank; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].key == key) return StringIds::Added::kDuplicate;
      if (++probe > kProbesMax) return StringIds::Added::kCrowded;
    }
    slots_[at] = {key, rule};
    return StringIds::Added::kNew;
  }
  // The rule, or one with kNoRank.
  MergeRule Find(TokenId a, TokenId b) const {
    const std::uint64_t key = Key(a, b);
    std::size_t at = Home(key);
    while (slots_[at].rule.rank != kNoRank && slots_[at].key != key)
      at = (at + 1) & (slots_.size() - 1);
    return slots_[at].rule;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    MergeRule rule;
  };
  static std::uint64_t Key(TokenId a, TokenId b) {
    return (std::uint64_t{static_cast<std::uint32_t>(a)} << 32) | static_cast<std::uint32_t>(b);
  }
  std::size_t Home(std::uint64_t key) const {
    return static_cast<std::size_t>(((key ^ (key >> 29)) * 0x9E3779B97F4A7C15ull) >> shift_);
  }

  std::vector<Slot> slots_;
  unsigned shift_ = 63;
};

}  // namespace waggle
