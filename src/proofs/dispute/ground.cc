#include "proofs/dispute/ground.h"

#include <algorithm>

namespace waggle {
namespace {

template <class Spec>
Result<Spec> Decode(std::span<const std::uint8_t> bytes) {
  auto spec = WireDecode<Spec>(bytes, kDisputeLimits.reply_bytes_max);
  if (!spec) return Fail(Blame::kPeer, "spec: {}", spec.error().what);
  return std::move(*spec);
}

Status CheckIds(const ModelConfig& config, std::span<const TokenId> ids) {
  for (const TokenId id : ids)
    if (id < 0 || static_cast<std::size_t>(id) >= config.vocab)
      return Fail(Blame::kPeer, "token id {} is outside the vocabulary of {}", id, config.vocab);
  return {};
}

}  // namespace

Result<RunModel> ModelOf(const RunProgram& program) {
  RunModel model;
  auto config = ParseModelConfig(program.config);
  if (!config) return Fail(Blame::kOperator, "terms: {}", config.error().what);
  model.config = std::move(*config);
  if (program.weights > 1 || program.kv > 1 || program.kshards == 0 || program.kshards > 64)
    return Fail(Blame::kOperator, "terms: numerics that disputes do not know");
  model.numerics.weights = static_cast<WeightFormat>(program.weights);
  model.numerics.kv = static_cast<KvFormat>(program.kv);
  model.numerics.kshards = program.kshards;
  if (program.units == 0 || program.units > kDisputeLimits.units_max || program.group == 0 ||
      program.group > kDisputeLimits.group_max || program.tokens_max == 0 ||
      program.tokens_max > kDisputeLimits.tokens_max)
    return Fail(Blame::kOperator, "terms: a run past the limits");
  // Programs hold one node per operation and tables per position: sizes that a model file may claim
  // are bounded here, before anything is built.
  const ModelConfig& c = model.config;
  if (c.layers > 512 || c.hidden > (1u << 16) || c.intermediate > (1u << 18) ||
      c.vocab > (1u << 20) || c.heads > 1024 || c.head_dim > 1024)
    return Fail(Blame::kOperator, "terms: a model past the limits of disputes");
  const bool reinforcement = program.kind == DisputeKind::kReinforcement;
  if (program.run.has_value() != reinforcement || (reinforcement && program.units % 2 != 0))
    return Fail(Blame::kOperator,
                "terms: a run without what describes it, or without its last step");
  const std::uint64_t words =
      program.group * (std::uint64_t{1} + 2 * std::uint64_t{program.tokens_max});
  if (reinforcement &&
      (program.group > kDisputeLimits.samples_max || words > kDisputeLimits.batch_words_max))
    return Fail(Blame::kOperator, "terms: {} responses of {} tokens in a batch are past the limits",
                program.group, program.tokens_max);
  model.masters = reinforcement;
  const auto probe = ForwardProgram(c, model.numerics, 1, {});
  if (!probe) return Forward(probe.error());
  return model;
}

bool IsOver(const SequenceSpec& spec, std::span<const TokenId> prefix) {
  if (prefix.size() >= spec.tokens_max) return true;
  return !prefix.empty() && std::find(spec.stop_ids.begin(), spec.stop_ids.end(), prefix.back()) !=
                                spec.stop_ids.end();
}

Result<Program> TokenProgram(const RunModel& model, const SequenceSpec& spec,
                             std::span<const TokenId> prefix) {
  WG_TRY(CheckIds(model.config, spec.prompt));
  WG_TRY(CheckIds(model.config, prefix));
  const std::uint64_t positions = spec.prompt.size() + prefix.size();
  if (positions * model.config.head_dim > kDisputeLimits.rope_cells_max)
    return Fail(Blame::kOperator, "{} positions are past the limits of disputes", positions);
  return ForwardProgram(model.config, model.numerics, spec.prompt.size() + prefix.size(),
                        {.temperature = spec.temperature,
                         .top_p = spec.top_p,
                         .min_p = spec.min_p,
                         .top_k = spec.top_k,
                         .key = {spec.key0, spec.key1},
                         .sample = spec.sample},
                        model.masters);
}

Bytes EncodeSpec(const SequenceSpec& spec) {
  return WireEncode(spec, kDisputeLimits.reply_bytes_max);
}
Bytes EncodeSpec(const StepSpec& spec) { return WireEncode(spec, kDisputeLimits.reply_bytes_max); }
Result<SequenceSpec> DecodeSequenceSpec(std::span<const std::uint8_t> bytes) {
  return Decode<SequenceSpec>(bytes);
}
Result<StepSpec> DecodeStepSpec(std::span<const std::uint8_t> bytes) {
  return Decode<StepSpec>(bytes);
}

}  // namespace waggle
