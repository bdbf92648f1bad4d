#include "proofs/dispute/tile_export.h"

#include <nlohmann/json.hpp>

namespace waggle {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kTextMax = 256u << 20;

Json ToJson(const TileAddress& address) {
  Json json = Json::array({address.base});
  std::size_t used = kTileDepthMax;
  while (used > 0 && address.stride[used - 1] == 0) --used;
  for (std::size_t i = 0; i < used; ++i) json.push_back(address.stride[i]);
  return json;
}

// Operands that an operation looks at, after d.
std::size_t OperandsOf(TileOp op) {
  switch (op) {
    case TileOp::kMove:
    case TileOp::kSqrt:
    case TileOp::kFromInt:
    case TileOp::kWiden:
    case TileOp::kSqrt64:
    case TileOp::kNarrow64:
      return 1;
    case TileOp::kFma:
    case TileOp::kSelect:
      return 3;
    default:
      return 2;
  }
}

tl::unexpected<Error> Bad(const char* what) { return Fail(Blame::kPeer, "tile export: {}", what); }

bool IsWord(const Json& json) {
  return json.is_number_unsigned() && json.get<std::uint64_t>() <= 0xFFFFFFFFu;
}

bool ReadAddress(const Json& json, TileAddress& address) {
  if (!json.is_array() || json.empty() || json.size() > kTileDepthMax + 1 || !IsWord(json[0]))
    return false;
  address.base = json[0].get<std::uint32_t>();
  for (std::size_t i = 1; i < json.size(); ++i) {
    if (!json[i].is_number_integer()) return false;
    const auto stride = json[i].get<std::int64_t>();
    if (stride < INT32_MIN || stride > INT32_MAX) return false;
    address.stride[i - 1] = static_cast<std::int32_t>(stride);
  }
  return true;
}

bool ReadStep(const Json& json, TileStep& step) {
  if (!json.is_array() || json.size() < 3 || !json[0].is_string()) return false;
  const auto& name = json[0].get_ref<const std::string&>();
  std::uint8_t op = 0;
  while (op < kTileOps && name != ToString(static_cast<TileOp>(op))) ++op;
  if (op == kTileOps) return false;
  step.op = static_cast<TileOp>(op);
  if (step.op == TileOp::kLoop) {
    if (json.size() != 3 || !IsWord(json[1]) || !IsWord(json[2])) return false;
    step.count = json[1].get<std::uint32_t>();
    step.body = json[2].get<std::uint32_t>();
    return true;
  }
  TileAddress* const operands[] = {&step.d, &step.a, &step.b, &step.c};
  if (json.size() != OperandsOf(step.op) + 2) return false;
  for (std::size_t i = 1; i < json.size(); ++i)
    if (!ReadAddress(json[i], *operands[i - 1])) return false;
  return true;
}

bool ReadWords(const Json& json, std::size_t limit, std::vector<std::uint32_t>& words) {
  if (!json.is_array() || json.size() > limit) return false;
  for (const Json& word : json) {
    if (!IsWord(word)) return false;
    words.push_back(word.get<std::uint32_t>());
  }
  return true;
}

// Runs of cells: [[first, [words]], ...].
bool ReadMemory(const Json& json, std::vector<std::uint32_t>& memory) {
  if (!json.is_array()) return false;
  for (const Json& run : json) {
    std::vector<std::uint32_t> words;
    if (!run.is_array() || run.size() != 2 || !IsWord(run[0]) ||
        !ReadWords(run[1], memory.size(), words))
      return false;
    const auto first = run[0].get<std::uint32_t>();
    if (first > memory.size() || words.size() > memory.size() - first) return false;
    std::copy(words.begin(), words.end(), memory.begin() + first);
  }
  return true;
}

}  // namespace

std::string WriteTileExport(const TileExport& tile) {
  Json json = {{"format", "waggle-tile-1"}, {"what", tile.what}, {"cells", tile.code.cells}};
  Json memory = Json::array(), constants = Json::array(), steps = Json::array();
  for (std::size_t i = 0; i < tile.memory.size();) {
    if (tile.memory[i] == 0) {
      ++i;
      continue;
    }
    Json words = Json::array();
    const std::size_t first = i;
    for (; i < tile.memory.size() && tile.memory[i] != 0; ++i) words.push_back(tile.memory[i]);
    memory.push_back(Json::array({first, std::move(words)}));
  }
  for (const auto& [cell, bits] : tile.code.constants) constants.push_back({cell, bits});
  for (const TileStep& step : tile.code.steps) {
    if (step.op == TileOp::kLoop) {
      steps.push_back({ToString(step.op), step.count, step.body});
      continue;
    }
    const TileAddress* const operands[] = {&step.d, &step.a, &step.b, &step.c};
    Json line = Json::array({ToString(step.op)});
    for (std::size_t i = 0; i <= OperandsOf(step.op); ++i) line.push_back(ToJson(*operands[i]));
    steps.push_back(std::move(line));
  }
  json["memory"] = std::move(memory);
  json["constants"] = std::move(constants);
  json["steps"] = std::move(steps);
  json["outputs"] = tile.code.outputs;
  json["expected"] = tile.expected;
  return json.dump();
}

Result<TileExport> ParseTileExport(std::string_view text) {
  if (text.size() > kTextMax) return Bad("longer than the limit");
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return Bad("not an object");
  for (const char* key :
       {"format", "what", "cells", "memory", "constants", "steps", "outputs", "expected"})
    if (!json.contains(key)) return Bad("a field is missing");
  if (json["format"] != "waggle-tile-1" || !json["what"].is_string() || !IsWord(json["cells"]))
    return Bad("another format");
  TileExport tile;
  tile.what = json["what"].get<std::string>();
  tile.code.cells = json["cells"].get<std::uint32_t>();
  if (tile.code.cells > kTileLimits.cells_max) return Bad("more cells than the limit");
  tile.memory.resize(tile.code.cells);
  if (!ReadMemory(json["memory"], tile.memory)) return Bad("memory");
  if (!json["constants"].is_array()) return Bad("constants");
  for (const Json& constant : json["constants"]) {
    std::vector<std::uint32_t> pair;
    if (!ReadWords(constant, 2, pair) || pair.size() != 2) return Bad("constants");
    tile.code.constants[pair[0]] = pair[1];
  }
  if (!json["steps"].is_array() || json["steps"].size() > kTileLimits.steps_max)
    return Bad("steps");
  for (const Json& step : json["steps"])
    if (!ReadStep(step, tile.code.steps.emplace_back())) return Bad("a step");
  if (!ReadWords(json["outputs"], tile.code.cells, tile.code.outputs) ||
      !ReadWords(json["expected"], tile.code.cells, tile.expected) ||
      tile.code.outputs.size() != tile.expected.size())
    return Bad("outputs");
  WG_TRY(Validate(tile.code));
  return tile;
}

Status CheckTileExport(const TileExport& tile) {
  WG_TRY(Validate(tile.code));
  if (tile.memory.size() != tile.code.cells) return Bad("memory of another size");
  std::vector<std::uint32_t> memory = tile.memory;
  RunTileSoft(tile.code, memory);
  for (std::size_t i = 0; i < tile.code.outputs.size(); ++i)
    if (memory[tile.code.outputs[i]] != tile.expected[i])
      return Fail(Blame::kPeer, "tile export: element {} is {:08x}, not {:08x}", i,
                  memory[tile.code.outputs[i]], tile.expected[i]);
  return {};
}

}  // namespace waggle
