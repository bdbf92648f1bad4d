#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace waggle {

void CheckFailed(std::string_view claim, const char* file, unsigned line) {
  std::fprintf(stderr, "waggle: bug: %s:%u: this must hold and does not: %.*s\n", file, line,
               static_cast<int>(claim.size()), claim.data());
  std::abort();
}

}  // namespace waggle
