// The set of tokens that min_p, top_k and top_p keep, in this order (sheet 2.9), and its statistics
// (2.8). Scalar; shared by all tables, because truncation is off in training runs and its sort
// dominates anyway.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/ops.h"

namespace waggle {

// Whether `params` can remove any of `vocab` tokens.
bool IsTruncated(const SampleParams& params, std::size_t vocab);

// kept[id] is 1 for every id that survives. y: logits times 1/temperature; max: their maximum.
std::vector<char> KeptSet(const float* y, std::size_t vocab, const SampleParams& params, float max);

// M, L, logL over the kept ids (all if kept is null). Removed ids leave their lane of R64 as it is.
RowStats KeptStats(const float* y, std::size_t vocab, const char* kept);

}  // namespace waggle
