// What the commands that drive whole runs share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/node.h"
#include "cli/swarm_flags.h"
#include "host/run_parts.h"

namespace waggle {

struct RunArguments {
  std::string recipe, profile, out, model;
  std::vector<std::string> overrides;
  std::uint64_t stop_after = 0;
  bool quiet = false;
  MachineOptions machine;
  // A run that others join.
  std::string listen, key = DefaultKeyFile().string(), passphrase_file;
  std::vector<std::string> hosts, mirrors;
  SwarmFlags swarm;
  std::string store, http = "127.0.0.1:0", drand_rounds;
  bool drain_on_red = false;
  std::size_t volunteers_max = 1024, per_address_max = 64;
};

// The recipe, and --profile.
void DefineRecipe(CLI::App& app, RunArguments& arguments);
// --out, --set, --quiet and the machine's.
void DefineRunOptions(CLI::App& app, RunArguments& arguments);
Result<RunOptions> OptionsFrom(const RunArguments& arguments,
                               const std::filesystem::path& directory);
// A free folder name: runs/name, runs/name-2, ...
std::filesystem::path FreeDirectory(const std::string& name);
void PrintSummary(const RunSummary& summary, const std::filesystem::path& directory);

}  // namespace waggle
