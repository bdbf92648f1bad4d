// The checkout that a test belongs to: scenarios, golden files and recipes lie there.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "base/check.h"

namespace waggle {

inline std::filesystem::path TestSource() {
  const char* source = std::getenv("WAGGLE_SOURCE");
  Check(source != nullptr, "WAGGLE_SOURCE names the root of the checkout, as ctest sets it");
  return source;
}

}  // namespace waggle
