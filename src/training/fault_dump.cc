#include "training/fault_dump.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"

namespace waggle {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t kDumpBytesMax = std::size_t{4} << 30;
constexpr const char* kFormat = "waggle-fault-1";

Json ToJson(const std::optional<double>& value) {
  return value ? Json(HexDouble(*value)) : Json(nullptr);
}

std::optional<double> OptionalDouble(const Json& json) {
  if (json.is_null()) return std::nullopt;
  const auto value = ParseHexDouble(json.get_ref<const std::string&>());
  if (!value) throw std::invalid_argument(value.error().what);
  return *value;
}
float ToFloat(const Json& json) {
  const auto value = ParseHexFloat(json.get_ref<const std::string&>());
  if (!value) throw std::invalid_argument(value.error().what);
  return *value;
}

Json ToJson(const Rollout& rollout) {
  Json logps = Json::array(), spans = Json::array();
  for (const float logp : rollout.logps) logps.push_back(HexFloat(logp));
  for (const VersionSpan& span : rollout.spans)
    spans.push_back({span.first_token, span.version.value, span.kept_kv});
  return {{"tokens", rollout.tokens},
          {"logps", logps},
          {"loss_mask", rollout.loss_mask},
          {"spans", spans},
          {"finish", static_cast<int>(rollout.finish)},
          {"reward", HexFloat(rollout.reward)}};
}
Rollout ToRollout(const Json& json) {
  Rollout rollout;
  json.at("tokens").get_to(rollout.tokens);
  json.at("loss_mask").get_to(rollout.loss_mask);
  for (const Json& logp : json.at("logps")) rollout.logps.push_back(ToFloat(logp));
  for (const Json& span : json.at("spans")) {
    rollout.spans.push_back({span.at(0).get<std::uint32_t>(),
                             PolicyVersion{span.at(1).get<std::uint64_t>()},
                             span.at(2).get<bool>()});
  }
  rollout.finish = static_cast<FinishReason>(json.at("finish").get<std::uint8_t>());
  rollout.reward = ToFloat(json.at("reward"));
  return rollout;
}

Json ToJson(const ScoredGroup& scored) {
  Json rollouts = Json::array(), rewards = Json::array(), components = Json::array(),
       weights = Json::array();
  for (const Rollout& rollout : scored.group.rollouts) rollouts.push_back(ToJson(rollout));
  for (const auto& reward : scored.rewards) rewards.push_back(ToJson(reward));
  for (const auto& row : scored.components) {
    Json values = Json::array();
    for (const auto& value : row) values.push_back(ToJson(value));
    components.push_back(values);
  }
  for (const double weight : scored.weights) weights.push_back(HexDouble(weight));
  return {{"lease", scored.group.lease.value},
          {"prompt", scored.group.prompt},
          {"rollouts", rollouts},
          {"rewards", rewards},
          {"correct", scored.correct},
          {"temperature", HexFloat(scored.temperature)},
          {"greedy_reward", ToJson(scored.greedy_reward)},
          {"components", components},
          {"weights", weights}};
}
ScoredGroup ToScoredGroup(const Json& json) {
  ScoredGroup scored;
  scored.group.lease.value = json.at("lease").get<std::uint64_t>();
  json.at("prompt").get_to(scored.group.prompt);
  for (const Json& rollout : json.at("rollouts"))
    scored.group.rollouts.push_back(ToRollout(rollout));
  for (const Json& reward : json.at("rewards")) scored.rewards.push_back(OptionalDouble(reward));
  for (const Json& correct : json.at("correct")) scored.correct.push_back(correct.get<bool>());
  scored.temperature = ToFloat(json.at("temperature"));
  scored.greedy_reward = OptionalDouble(json.at("greedy_reward"));
  for (const Json& row : json.at("components")) {
    scored.components.emplace_back();
    for (const Json& value : row) scored.components.back().push_back(OptionalDouble(value));
  }
  for (const Json& weight : json.at("weights"))
    scored.weights.push_back(OptionalDouble(weight).value());
  return scored;
}

FaultDump FromJson(const Json& json) {
  FaultDump dump;
  if (json.at("format") != kFormat) throw std::invalid_argument("unknown format");
  json.at("step").get_to(dump.step);
  json.at("error").get_to(dump.error);
  const auto raw = FromHex(json.at("state").get_ref<const std::string&>());
  if (!raw || raw->size() != dump.state.size()) throw std::invalid_argument("state: not a hash");
  std::copy(raw->begin(), raw->end(), dump.state.begin());
  if (!json.at("version").is_null())
    dump.batch.current = PolicyVersion{json.at("version").get<std::uint64_t>()};
  for (const Json& sample : json.at("samples")) {
    dump.batch.sft.push_back(
        {.tokens = sample.at("tokens").get<std::vector<TokenId>>(),
         .loss_mask = sample.at("loss_mask").get<std::vector<std::uint8_t>>()});
  }
  for (const Json& group : json.at("groups")) dump.batch.groups.push_back(ToScoredGroup(group));
  return dump;
}

}  // namespace

std::filesystem::path FaultDumpPath(const std::filesystem::path& directory, std::uint64_t step) {
  return directory / fmt::format("fault-step-{:08}.json", step);
}

Status WriteFaultDump(const std::filesystem::path& directory, std::uint64_t step,
                      const Hash256& state, const std::string& error, const FaultBatchView& batch) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed)
    return Fail(Blame::kMachine, "cannot create {}: {}", directory.string(), failed.message());
  Json samples = Json::array(), groups = Json::array();
  for (const SftSample& sample : batch.sft != nullptr ? *batch.sft : std::vector<SftSample>{}) {
    samples.push_back({{"tokens", sample.tokens}, {"loss_mask", sample.loss_mask}});
  }
  for (const ScoredGroup& group :
       batch.groups != nullptr ? *batch.groups : std::vector<ScoredGroup>{})
    groups.push_back(ToJson(group));
  const Json json = {{"format", kFormat},
                     {"step", step},
                     {"state", ToHex(state)},
                     {"error", error},
                     {"version", batch.current ? Json(batch.current->value) : Json(nullptr)},
                     {"samples", samples},
                     {"groups", groups}};
  return WriteFileAtomic(FaultDumpPath(directory, step), json.dump(1) + "\n");
}

Result<FaultDump> ReadFaultDump(const std::filesystem::path& file) {
  WG_ASSIGN(const std::string text, ReadFile(file, kDumpBytesMax));
  return ParseFaultDump(text, file.string());
}

Result<FaultDump> ParseFaultDump(std::string_view json, const std::string& name) {
  try {
    return FromJson(Json::parse(json));
  } catch (const std::exception& error) {
    return Fail(Blame::kOperator, "{} is no fault dump: {}", name, error.what());
  }
}

}  // namespace waggle
