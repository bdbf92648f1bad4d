#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace waggle {

void CheckFailed(std::string_view claim, const std::source_location& at) {
  std::fprintf(stderr, "waggle: bug: %s:%u: this must hold and does not: %.*s\n", at.file_name(),
               static_cast<unsigned>(at.line()), static_cast<int>(claim.size()), claim.data());
  std::abort();
}

}  // namespace waggle
