// The last tile of a dispute as a text that anybody can compute again, a contract included: the
// values that feed it, the operations one by one, and what must come out. All numbers are unsigned
// 32-bit words; what each operation does is in docs/disputes.md and needs integers only.
//
//   {"format": "waggle-tile-1", "what": "...", "cells": n,
//    "memory":  [[first cell, [words...]], ...]   inputs; cells not named are 0
//    "constants": [[cell, word], ...],
//    "steps": [["loop", count, body steps], ["fma", d, a, b, c], ...]
//    "outputs": [cells...], "expected": [words...]}
//
// An address is [base, stride of the outermost loop, ...], trailing zeros left out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proofs/dispute/tile_code.h"

namespace waggle {

struct TileExport {
  std::string what;
  TileProgram code;
  std::vector<std::uint32_t> memory;  // before the run, constants aside
  std::vector<std::uint32_t> expected;
  bool operator==(const TileExport&) const = default;
};

std::string WriteTileExport(const TileExport& tile);
// Refused (blame peer): what is not of this form, or not valid, or past the limits.
Result<TileExport> ParseTileExport(std::string_view text);
// Whether integer arithmetic alone leads to what is expected.
Status CheckTileExport(const TileExport& tile);

}  // namespace waggle
