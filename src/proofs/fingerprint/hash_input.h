// SHA-256 over parts of stated widths, for layouts that sheets give byte by byte.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

#include "crypto/hash.h"

namespace waggle {

class HashInput {
 public:
  explicit HashInput(Sha256Hasher begun = {}) : hasher_(begun) {}
  HashInput& Text(std::string_view text) {
    hasher_.Update(std::as_bytes(std::span(text.data(), text.size())));
    return *this;
  }
  HashInput& Digest(const Digest256& digest) {
    hasher_.Update(std::span<const std::uint8_t>(digest));
    return *this;
  }
  HashInput& Raw(std::span<const std::uint8_t> bytes) {
    hasher_.Update(bytes);
    return *this;
  }
  // The low `bytes` bytes of a number, little endian.
  HashInput& Little(std::uint64_t value, std::size_t bytes) {
    std::uint8_t out[8];
    for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
    hasher_.Update(std::span<const std::uint8_t>(out, bytes));
    return *this;
  }
  HashInput& Floats(std::span<const float> values) {
    static_assert(std::endian::native == std::endian::little);
    hasher_.Update(std::as_bytes(values));
    return *this;
  }
  Digest256 Finish() const { return hasher_.Finish(); }

 private:
  Sha256Hasher hasher_;
};

}  // namespace waggle
