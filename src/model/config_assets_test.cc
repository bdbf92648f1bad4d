// config.json files of published models: read, and written again field by field as they were.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/config.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Fields that say nothing about the model's function, or whose default we write out.
bool IsRemark(const std::string& field) {
  for (const char* remark : {"attention_dropout", "initializer_range", "transformers_version",
                             "use_cache", "_name_or_path", "pretraining_tp"}) {
    if (field == remark) return true;
  }
  return false;
}

TEST(ConfigAssets, EveryFieldOfPublishedModelsIsKept) {
  const fs::path assets = std::getenv("WAGGLE_ASSETS");
  std::size_t files = 0;
  for (const char* name : {"configs/qwen2-0_5b", "configs/qwen3-0.6b", "configs/qwen3-1.7b",
                           "models/llama-2m-fresh", "models/verl-digit-completion"}) {
    if (!fs::exists(assets / name / "config.json")) continue;
    std::ifstream file(assets / name / "config.json");
    const Json original = Json::parse(file);
    const auto config = ParseModelConfig(original.dump());
    ASSERT_TRUE(config) << name << ": " << config.error().what;
    const Status writable = CheckWritable(*config);
    EXPECT_TRUE(writable) << writable.error().what;
    const std::string dtype = original["torch_dtype"];
    const Json written = Json::parse(WriteModelConfig(*config, dtype));
    for (const auto& [field, value] : original.items()) {
      if (IsRemark(field) || (value.is_null() && !written.contains(field))) continue;
      // A window that is switched off by use_sliding_window, and where it would begin, are not
      // kept.
      const bool off = !original.value("use_sliding_window", true);
      if (off && (field == "sliding_window" || field == "max_window_layers")) continue;
      EXPECT_EQ(written.value(field, Json("absent")), value) << name << ": " << field;
    }
    ++files;
  }
  EXPECT_EQ(files, 5u);
}

}  // namespace
}  // namespace waggle
