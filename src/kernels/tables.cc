// Choice among the tables this CPU can run.
#include <array>
#include <cstring>

#include "kernels/ops.h"

namespace waggle {

std::span<const Ops* const> AvailableOps() {
  static const std::array<const Ops*, 1> tables = {&ReferenceOps()};
  return tables;
}

const Ops& BestOps() { return *AvailableOps().front(); }

const Ops* FindOps(const char* name) {
  for (const Ops* ops : AvailableOps()) {
    if (std::strcmp(ops->name, name) == 0) return ops;
  }
  return nullptr;
}

}  // namespace waggle
