// How tests drive a small run (run/test_recipe.h).
#pragma once

#include "host/run_parts.h"
#include "kernels/ops.h"
#include "run/test_recipe.h"

namespace waggle {

inline RunOptions SmallRunOptions(const std::filesystem::path& root, const std::string& name) {
  return {.run_directory = root / name,
          .cache_directory = root / "cache",
          .threads = 1,
          .ops = &BestOps(),
          .quiet = true};
}

}  // namespace waggle
