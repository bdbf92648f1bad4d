// Unsigned LEB128: seven bits a byte, low ones first, the top bit says that more follow. Only the
// shortest form counts, so that one number has one sequence of bytes.
#pragma once

#include <cstdint>

#include "base/wire.h"

namespace waggle {

inline constexpr std::size_t kLeb128BytesMax = 10;

inline void PutLeb128(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

}  // namespace waggle
