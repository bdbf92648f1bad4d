// QR codes for a terminal (ISO/IEC 18004), through libqrencode.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

// The modules of a code, row by row, without the quiet zone; true: dark.
struct QrModules {
  std::size_t side = 0;
  std::vector<bool> dark;
  bool At(std::size_t x, std::size_t y) const { return dark[y * side + x]; }
};

// In the densest alphabet that fits, error correction level L (a screen has no scratches). Text
// that fits no code: Blame::kBug, callers know their limits.
Result<QrModules> EncodeQr(std::string_view text);

// Two rows of modules per line of half blocks, with the quiet zone of four modules. `light` writes
// the light modules as blocks, for terminals with light text on a dark ground; otherwise the dark
// ones.
std::string QrText(const QrModules& modules, bool light);

}  // namespace waggle
