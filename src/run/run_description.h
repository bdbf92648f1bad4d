// What a volunteer has to know of a run before it samples: fetched from the host as the blob that
// bears the run's id. The recipe is as good as the invite, since the id is a hash of it; the rest
// is the host's word, whom the invite pins.
#pragma once

#include <optional>
#include <string>

#include "base/wire.h"
#include "model/config.h"
#include "run/recipe.h"
#include "tokenizer/tokenizer.h"

namespace waggle {

inline constexpr std::size_t kDescriptionBytesMax = std::size_t{128} << 20;

// Of a run with a teacher (kl.teacher): what shows that weights which somebody gives are its.
struct TeacherDescription {
  Hash256 weights{};  // the run's starting weights alone; with the teacher's they make `start`
  ModelConfig model;  // the teacher's
};

struct RunDescription {
  Recipe recipe;
  ModelConfig model;
  Tokenizer tokenizer;
  Hash256 start{};  // of the starting weights, as RunIdOf takes it
  // The recipe names no path then, only that there is one.
  std::optional<TeacherDescription> teacher = std::nullopt;
};

// What a run must be that volunteers can take part in. Blame::kOperator, with what to change. Host
// and volunteer both ask: no stranger's recipe makes a volunteer read its own files.
Status CheckJoinable(const Recipe& recipe);

// Paths on the host's machine, which the id does not depend on, stay there.
Bytes EncodeDescription(Recipe recipe, const ModelConfig& model, const Tokenizer& tokenizer,
                        const Hash256& start,
                        const std::optional<TeacherDescription>& teacher = std::nullopt);
// Blame::kPeer names the part; a recipe of another run than `run` is refused.
Result<RunDescription> DecodeDescription(std::span<const std::uint8_t> bytes, const Hash256& run);

}  // namespace waggle
