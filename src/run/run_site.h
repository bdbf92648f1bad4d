// Whatever a volunteer needs of a run besides its weights, made from the run's description.
#pragma once

#include <memory>
#include <optional>

#include "net/client.h"
#include "run/base_model.h"
#include "run/run_description.h"
#include "run/task_codec.h"

namespace waggle {

// Not movable: the codec borrows the environment and the tokenizer.
struct RunSite {
  RunDescription description;
  std::unique_ptr<Environment> environment;
  NumericsConfig numerics;
  std::optional<TaskCodec> codec;
};

// The description's bytes, from the host; and what they say. Blame::kPeer for a description that is
// not this run's.
Result<Bytes> FetchDescription(NodeClient& client, const Hash256& run);
Result<std::unique_ptr<RunSite>> MakeRunSite(std::span<const std::uint8_t> description,
                                             const Hash256& run);
// Both.
Result<std::unique_ptr<RunSite>> FetchRunSite(NodeClient& client, const Hash256& run);

}  // namespace waggle
