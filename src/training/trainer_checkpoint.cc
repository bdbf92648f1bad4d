// A trainer's checkpoint: safetensors of masters, moments (and adapters, reference), and state.json
// with exact numbers.
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"
#include "training/checkpoint_folder.h"
#include "training/trainer_impl.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "waggle-trainer-1";
constexpr std::size_t kStateBytesMax = std::size_t{64} << 20;

Status WriteTensors(const fs::path& file, const Parameters& tensors) {
  return WriteSafetensors(file, tensors, WeightFormat::kF32, {});
}

// Tensors of `file`, which must have exactly the names and shapes of `like`.
Result<Parameters> ReadLike(const fs::path& file, const Parameters& like) {
  WG_ASSIGN(Parameters tensors, ReadSafetensors(file, nullptr));
  if (tensors.size() != like.size())
    return Fail(Blame::kOperator, "{}: {} tensors where {} belong", file.string(), tensors.size(),
                like.size());
  for (const auto& [name, tensor] : like) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.shape != tensor.shape) {
      return Fail(
          Blame::kOperator,
          "{}: {} is missing or has another shape: the checkpoint is of another model or adapter",
          file.string(), name);
    }
  }
  return tensors;
}

template <std::size_t N>
Status ReadHex(const Json& json, std::array<std::uint8_t, N>& out) {
  WG_ASSIGN(const std::string raw, FromHex(json.get_ref<const std::string&>()));
  if (raw.size() != N) return Fail(Blame::kOperator, "a hash of {} bytes", raw.size());
  std::copy(raw.begin(), raw.end(), out.begin());
  return {};
}

Status ReadPowers(const Json& json, OptimizerState& state) {
  json.at("step").get_to(state.step);
  WG_ASSIGN(state.beta1_power,
            ParseHexDouble(json.at("beta1_power").get_ref<const std::string&>()));
  WG_ASSIGN(state.beta2_power,
            ParseHexDouble(json.at("beta2_power").get_ref<const std::string&>()));
  return {};
}

Result<Critic> ReadCritic(const fs::path& folder, OptimizerState moments,
                          const Trainer::Impl& trainer) {
  const Parameters shapes = ZeroParameters(Critic::ShapeFor(trainer.model));
  Critic::State state;
  WG_ASSIGN(state.parameters, ReadLike(folder / "critic.safetensors", shapes));
  WG_ASSIGN(moments.m, ReadLike(folder / "critic_m.safetensors", shapes));
  WG_ASSIGN(moments.v, ReadLike(folder / "critic_v.safetensors", shapes));
  state.optimizer = std::move(moments);
  return Critic::Create(trainer.model, trainer.numerics.kshards, std::move(state), trainer.config,
                        trainer.ops);
}

}  // namespace

Status Trainer::Impl::Save(const fs::path& directory) const {
  return WriteFolder(directory, [&](const fs::path& folder) -> Status {
    WG_TRY(WriteTensors(folder / "masters.safetensors", masters));
    WG_TRY(WriteTensors(folder / "m.safetensors", state.m));
    WG_TRY(WriteTensors(folder / "v.safetensors", state.v));
    if (lora) WG_TRY(WriteTensors(folder / "adapters.safetensors", lora->tensors));
    if (reference) WG_TRY(WriteTensors(folder / "reference.safetensors", *reference));
    Json json = {{"format", kFormat},
                 {"profile", "ca1"},
                 {"step", state.step},
                 {"beta1_power", HexDouble(state.beta1_power)},
                 {"beta2_power", HexDouble(state.beta2_power)},
                 {"kl_beta", HexDouble(kl_beta)},
                 {"run_id", ToHex(run_id)},
                 {"cursor", cursor},
                 {"adapters", lora.has_value()},
                 {"reference", reference.has_value()},
                 {"state_hash", ToHex(Hash())}};
    if (critic) {
      const Critic::State& c = critic->state();
      WG_TRY(WriteTensors(folder / "critic.safetensors", c.parameters));
      WG_TRY(WriteTensors(folder / "critic_m.safetensors", c.optimizer.m));
      WG_TRY(WriteTensors(folder / "critic_v.safetensors", c.optimizer.v));
      json["critic"] = {{"step", c.optimizer.step},
                        {"beta1_power", HexDouble(c.optimizer.beta1_power)},
                        {"beta2_power", HexDouble(c.optimizer.beta2_power)}};
    }
    return WriteFileAtomic(folder / "state.json", json.dump(1) + "\n");
  });
}

Status Trainer::Impl::Load(const fs::path& directory) {
  WG_ASSIGN(const fs::path folder, VerifiedFolder(directory));
  WG_ASSIGN(const std::string text, ReadFile(folder / "state.json", kStateBytesMax));
  Hash256 expected{};
  bool has_adapters = false, has_reference = false, has_critic = false;
  OptimizerState critic_moments;
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != kFormat)
      return Fail(Blame::kOperator, "{}: unknown format", (folder / "state.json").string());
    json.at("cursor").get_to(cursor);
    json.at("adapters").get_to(has_adapters);
    json.at("reference").get_to(has_reference);
    WG_TRY(ReadPowers(json, state));
    WG_ASSIGN(kl_beta, ParseHexDouble(json.at("kl_beta").get_ref<const std::string&>()));
    WG_TRY(ReadHex(json.at("run_id"), run_id));
    WG_TRY(ReadHex(json.at("state_hash"), expected));
    has_critic = json.contains("critic");
    if (has_critic) WG_TRY(ReadPowers(json.at("critic"), critic_moments));
  } catch (const std::exception& error) {
    return Fail(Blame::kOperator, "{}: {}", (folder / "state.json").string(), error.what());
  }
  if (has_adapters != (config.lora.rank > 0))
    return Fail(Blame::kOperator, "{}: adapters here or in the recipe, not in both",
                folder.string());
  if (!has_adapters && has_reference != KeepsReference(config.algorithm)) {
    return Fail(Blame::kOperator,
                "{}: the recipe's KL term needs a reference policy that the checkpoint does not "
                "have, or the other way round",
                folder.string());
  }
  if (has_critic != NeedsCritic(config.algorithm)) {
    return Fail(Blame::kOperator,
                "{}: a critic here or in the recipe (advantage.kind = \"gae\"), not in both",
                folder.string());
  }
  const Parameters shapes = ZeroParameters(model);
  WG_ASSIGN(masters, ReadLike(folder / "masters.safetensors", shapes));
  if (has_adapters) {
    const LoraConfig adapter{.rank = config.lora.rank,
                             .alpha = static_cast<float>(config.lora.alpha),
                             .targets = config.lora.targets};
    lora = InitLora(model, adapter, config.lora.seed);
    WG_ASSIGN(lora->tensors, ReadLike(folder / "adapters.safetensors", lora->tensors));
  }
  if (has_reference) {
    WG_ASSIGN(reference, ReadLike(folder / "reference.safetensors", shapes));
  }
  if (has_critic) {
    WG_ASSIGN(critic, ReadCritic(folder, std::move(critic_moments), *this));
  }
  WG_ASSIGN(state.m, ReadLike(folder / "m.safetensors", trained()));
  WG_ASSIGN(state.v, ReadLike(folder / "v.safetensors", trained()));
  if (Hash() != expected)
    return Fail(Blame::kOperator, "{}: the tensors do not have the state hash that was saved",
                folder.string());
  return Prepare();
}

}  // namespace waggle
