// Options and steps that several subcommands share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "model/model.h"
#include "run/base_model.h"

namespace waggle {

// --threads and --isa: how fast, never which bits.
struct MachineOptions {
  unsigned threads = 0;  // 0: all
  std::string isa;       // empty: the best this CPU has

  void Define(CLI::App& app);
  unsigned Threads() const;
  Result<const Ops*> SelectedOps() const;
};

// --model, --weights, --kv: a model directory with its tokenizer, packed for this machine.
struct ModelOptions {
  std::string path, weights = "f32", kv = "f32";

  void Define(CLI::App& app);
};
struct OpenModel {
  BaseModel base;  // without its parameters
  std::shared_ptr<const Model> model;
};
Result<OpenModel> Open(const ModelOptions& options, const Ops& ops);

Result<std::vector<TokenId>> ParseIds(const std::string& text, std::size_t vocab);
std::filesystem::path CacheDirectory();

}  // namespace waggle
