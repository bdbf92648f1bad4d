// Unpredictable bytes from the system. For nonces and tokens, never for anything that is replayed.
#pragma once

#include <sodium.h>

#include <array>
#include <cstdint>

namespace waggle {

template <std::size_t kBytes>
std::array<std::uint8_t, kBytes> RandomBytes() {
  std::array<std::uint8_t, kBytes> bytes;
  ::randombytes_buf(bytes.data(), bytes.size());
  return bytes;
}

}  // namespace waggle
