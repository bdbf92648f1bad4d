#include "training/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/folders.h"
#include "base/hex.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "waggle-folder-1";
constexpr std::size_t kManifestBytesMax = 1 << 20;
constexpr std::string_view kStepPrefix = "step-";

fs::path Beside(const fs::path& directory, const char* suffix) {
  return directory.parent_path() / (directory.filename().string() + suffix);
}

Result<Digest256> HashFile(const fs::path& file) {
  WG_ASSIGN(const MappedFile mapped, MappedFile::Open(file));
  return Sha256Hasher().Update(mapped.bytes()).Finish();
}

Status WriteManifest(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const std::string& name : names) {
    WG_ASSIGN(const Digest256 digest, HashFile(folder / name));
    files.push_back(
        {{"name", name}, {"bytes", fs::file_size(folder / name)}, {"sha256", ToHex(digest)}});
  }
  const nlohmann::ordered_json manifest = {{"format", kFormat}, {"files", files}};
  return WriteFileAtomic(folder / kManifest, manifest.dump(1) + "\n");
}

Status CheckFile(const fs::path& folder, const nlohmann::json& entry) {
  const auto& name = entry.at("name").get_ref<const std::string&>();
  if (name.empty() || name.find('/') != std::string::npos || name == "..")
    return Fail(Blame::kOperator, "{}: a strange file name", kManifest);
  std::error_code error;
  const auto size = fs::file_size(folder / name, error);
  if (error) return Fail(Blame::kOperator, "{} is missing", (folder / name).string());
  if (size != entry.at("bytes").get<std::uint64_t>())
    return Fail(Blame::kOperator, "{} has another size than the manifest says",
                (folder / name).string());
  WG_ASSIGN(const Digest256 digest, HashFile(folder / name));
  if (ToHex(digest) != entry.at("sha256").get_ref<const std::string&>()) {
    return Fail(Blame::kOperator, "{} is damaged: its SHA-256 is not the manifest's",
                (folder / name).string());
  }
  return {};
}

Status CheckFolder(const fs::path& folder) {
  WG_ASSIGN(const std::string text, ReadFile(folder / kManifest, kManifestBytesMax));
  try {
    const auto manifest = nlohmann::json::parse(text);
    if (manifest.at("format") != kFormat)
      return Fail(Blame::kOperator, "{}: unknown format", (folder / kManifest).string());
    for (const auto& entry : manifest.at("files")) WG_TRY(CheckFile(folder, entry));
  } catch (const std::exception& error) {
    return Fail(Blame::kOperator, "{}: {}", (folder / kManifest).string(), error.what());
  }
  return {};
}

}  // namespace

Status WriteFolder(const fs::path& directory, const std::function<Status(const fs::path&)>& write) {
  const fs::path target = fs::absolute(directory), staged = Beside(target, ".tmp"),
                 old = Beside(target, ".old");
  WG_TRY(RemovePath(staged));
  WG_TRY(MakeFolder(staged));
  WG_TRY(write(staged));
  WG_TRY(WriteManifest(staged));
  WG_TRY(SyncFolder(staged));
  if (fs::exists(target)) {
    WG_TRY(RemovePath(old));
    WG_TRY(RenamePath(target, old));
  }
  WG_TRY(RenamePath(staged, target));
  WG_TRY(SyncFolder(target.parent_path()));
  return RemovePath(old);
}

Result<fs::path> VerifiedFolder(const fs::path& directory) {
  const fs::path target = fs::absolute(directory), old = Beside(target, ".old");
  const fs::path found =
      !fs::exists(target / kManifest) && fs::exists(old / kManifest) ? old : target;
  if (!fs::exists(found / kManifest))
    return Fail(Blame::kOperator, "{} is no complete checkpoint: it has no {}", target.string(),
                kManifest);
  WG_TRY(CheckFolder(found));
  return found;
}

fs::path StepFolder(const fs::path& root, std::uint64_t step) {
  return root / (std::string(kStepPrefix) + std::to_string(step));
}

std::vector<std::uint64_t> CompleteSteps(const fs::path& root) {
  std::vector<std::uint64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kStepPrefix) || !fs::exists(entry.path() / kManifest)) continue;
    std::uint64_t step = 0;
    const char* begin = name.data() + kStepPrefix.size();
    const auto [end, failed] = std::from_chars(begin, name.data() + name.size(), step);
    if (failed == std::errc{} && end == name.data() + name.size()) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Status PruneSteps(const fs::path& root, std::size_t keep) {
  const std::vector<std::uint64_t> steps = CompleteSteps(root);
  for (std::size_t i = 0; i + keep < steps.size(); ++i) {
    const fs::path folder = StepFolder(root, steps[i]), dead = Beside(folder, ".old");
    // Out of the way in one rename first, so that a half-removed folder never looks complete.
    WG_TRY(RemovePath(dead));
    WG_TRY(RenamePath(folder, dead));
    WG_TRY(RemovePath(dead));
  }
  return {};
}

}  // namespace waggle
