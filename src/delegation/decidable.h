// Whether what is delegated could be disputed: a tile that no referee takes could be lied about
// with impunity, so such programs are refused where they are formed.
#pragma once

#include "proofs/dispute/ground.h"

namespace waggle {

// The dearest tiles of the last token of this sequence. Blame::kOperator: what to lower.
Status CheckDecidable(const RunModel& model, const SequenceSpec& spec);
// The same of a step on one sample of so many rows.
Status CheckDecidable(const RunProgram& run, const RunModel& model, std::uint32_t rows);

}  // namespace waggle
