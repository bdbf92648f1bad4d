#include "base/check.h"
#include "proofs/dispute/run_node_impl.h"

namespace waggle {

void RunTraining(NodeRun& run) {
  (void)run;
  Check(false, "every operation runs");
}

}  // namespace waggle
