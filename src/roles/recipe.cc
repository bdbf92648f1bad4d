#include "roles/recipe.h"

#include <vector>

#include "base/files.h"
#include "crypto/hash.h"

namespace waggle {
namespace {
constexpr std::size_t kRecipeBytesMax = 1 << 20;
}

Result<Recipe> LoadRecipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  const auto file = std::filesystem::is_directory(path) ? path / "recipe.toml" : path;
  WG_ASSIGN(const std::string text, ReadFile(file, kRecipeBytesMax));
  Recipe recipe;
  WG_TRY(ReadToml(text, file.string(), recipe));
  for (const std::string& entry : overrides) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos) return Fail(Blame::kOperator, "--set {}: expected section.key=value", entry);
    WG_TRY(Override(recipe, entry.substr(0, equals), entry.substr(equals + 1)));
  }
  return recipe;
}

Hash256 RunIdOf(Recipe recipe, const Hash256& initial_weights) {
  const std::string text = "WGL-RUN-1\n" + WriteToml(recipe);
  std::vector<std::uint8_t> bytes(text.begin(), text.end());
  bytes.insert(bytes.end(), initial_weights.begin(), initial_weights.end());
  return Sha256(bytes);
}

}  // namespace waggle
