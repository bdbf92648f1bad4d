// Check(condition, claim): programmer errors stop the process, in release builds too.
// Never on input from a peer, a file or the operator: those return a Result.
#pragma once

#include <string_view>

namespace waggle {

[[noreturn]] void CheckFailed(std::string_view claim, const char* file, unsigned line);

// The defaults are the caller's place. (Not std::source_location: libstdc++ offers it to clang from
// version 15 on, and Debian's fuzzer and sanitizer builds use clang 14.)
inline void Check(bool holds, std::string_view claim, const char* file = __builtin_FILE(),
                  unsigned line = __builtin_LINE()) {
  if (!holds) [[unlikely]]
    CheckFailed(claim, file, line);
}

}  // namespace waggle
