// Check(condition, claim): programmer errors stop the process, in release builds too.
// Never on input from a peer, a file or the operator: those return a Result.
#pragma once

#include <source_location>
#include <string_view>

namespace waggle {

[[noreturn]] void CheckFailed(std::string_view claim, const std::source_location& at);

inline void Check(bool holds, std::string_view claim,
                  std::source_location at = std::source_location::current()) {
  if (!holds) [[unlikely]] CheckFailed(claim, at);
}

}  // namespace waggle
