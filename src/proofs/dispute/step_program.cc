#include "proofs/dispute/ground.h"

namespace waggle {

Result<Program> StepProgramOf(const RunProgram&, const RunModel&, const StepSpec&) {
  return Fail(Blame::kOperator, "training steps");
}

}  // namespace waggle
