#include "audit/public_inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/files.h"
#include "base/hex.h"
#include "policy/chain.h"
#include "policy/model_image.h"
#include "run/run_folder.h"
#include "run/trainer_at.h"

namespace waggle {
namespace {

constexpr std::size_t kPayloadBytesMax = std::size_t{1} << 36;

// A path is tried as it stands, and as the policies/ of a run.
std::vector<std::filesystem::path> PolicyFolders(
    const std::vector<std::filesystem::path>& folders) {
  std::vector<std::filesystem::path> all;
  for (const auto& folder : folders) {
    all.push_back(folder);
    all.push_back(folder / "policies");
  }
  return all;
}

Result<Bytes> ReadBytes(const std::filesystem::path& path, std::size_t bytes_max) {
  WG_ASSIGN(const std::string text, ReadFile(path, bytes_max));
  return Bytes(text.begin(), text.end());
}

}  // namespace

std::optional<LoraConfig> LoraConfigOf(const AdapterConfig& adapter) {
  if (adapter.rank == 0) return std::nullopt;
  return LoraConfig{
      .rank = adapter.rank, .alpha = static_cast<float>(adapter.alpha), .targets = adapter.targets};
}

std::uint64_t WeightBytesMax(const ModelConfig& model, WeightFormat format,
                             const LoraConfig* lora) {
  std::uint64_t bytes = 1 << 20;
  for (const auto& [name, form] : FormOf(model, format, lora))
    bytes += form.bytes() + name.size() + 256;
  return bytes;
}

std::uint64_t WeightBytesMax(const RunSite& site, WeightFormat format) {
  const RunDescription& d = site.description;
  const auto lora = LoraConfigOf(d.recipe.trainer.lora);
  return WeightBytesMax(d.model, format, lora ? &*lora : nullptr);
}

FolderInputs::FolderInputs(std::vector<std::filesystem::path> folders, const Ops& ops,
                           ThreadPool& pool)
    : folders_(std::move(folders)), ops_(ops), pool_(pool) {}

std::string FolderInputs::Places() const {
  if (folders_.empty())
    return "no folder was given: use --inputs with a run's folder, or with one "
           "that holds its policies";
  std::vector<std::string> names;
  for (const auto& folder : folders_) names.push_back(folder.string());
  return fmt::format("looked in {}", fmt::join(names, ", "));
}

Result<Bytes> FolderInputs::Description(const Hash256& run, const Hash256& hash) {
  for (const auto& folder : folders_) {
    const auto path = folder / "description.bin";
    if (!std::filesystem::exists(path)) continue;
    WG_ASSIGN(Bytes bytes, ReadBytes(path, kDescriptionBytesMax));
    if (Sha256(bytes) == hash) return bytes;
  }
  return Fail(Blame::kMachine, "the description of run {} is not here ({})",
              ToHex(run).substr(0, 12), Places());
}

std::vector<FolderInputs::Update> FolderInputs::UpdatesOf(const Hash256& run) const {
  std::vector<Update> updates;
  for (const auto& folder : PolicyFolders(folders_)) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("full-") && !name.starts_with("patch-")) continue;
      const auto bytes = ReadBytes(entry.path() / "manifest.bin", kManifestBytesMax);
      if (!bytes) continue;  // on its way, or just pruned
      auto manifest = DecodeManifest(*bytes);
      if (manifest && manifest->run == run) updates.push_back({std::move(*manifest), entry.path()});
    }
  }
  return updates;
}

bool FolderInputs::Has(const Hash256& run, PolicyVersion version) const {
  std::vector<PolicyLink> links;
  for (const Update& update : UpdatesOf(run))
    links.push_back({update.manifest.base, update.manifest.version, update.manifest.payload_bytes});
  return ShortestChain(links, version, std::nullopt).has_value();
}

std::optional<Hash256> FolderInputs::RootOf(const Hash256& run, PolicyVersion version) const {
  for (const Update& update : UpdatesOf(run)) {
    if (update.manifest.version == version) return update.manifest.root;
  }
  return std::nullopt;
}

Result<PolicyImage> FolderInputs::ImageOf(const std::vector<Update>& updates, const ImageForm& form,
                                          PolicyVersion version, const Hash256& root) {
  std::vector<PolicyLink> links;
  for (const Update& update : updates)
    links.push_back({update.manifest.base, update.manifest.version, update.manifest.payload_bytes});
  const auto chain = ShortestChain(links, version, std::nullopt);
  if (!chain)
    return Fail(Blame::kMachine, "policy version {} with root {}... is not here ({})",
                version.value, ToHex(root).substr(0, 12), Places());
  std::optional<PolicyImage> image;
  for (const PolicyLink& link : *chain) {
    const auto found = std::find_if(updates.begin(), updates.end(), [&](const Update& update) {
      return update.manifest.base == link.base && update.manifest.version == link.version;
    });
    WG_ASSIGN(const Bytes payload, ReadBytes(found->folder / "payload.bin", kPayloadBytesMax));
    auto next = ImageFrom(found->manifest, payload, form, image ? &*image : nullptr, pool_);
    if (!next) return Fail(Blame::kMachine, "{}: {}", found->folder.string(), next.error().what);
    image.emplace(std::move(*next));
  }
  if (image->root() != root)
    return Fail(Blame::kMachine, "policy version {} here has root {}..., not {}...", version.value,
                ToHex(image->root()).substr(0, 12), ToHex(root).substr(0, 12));
  return std::move(*image);
}

Result<std::shared_ptr<const Model>> FolderInputs::Policy(const RunSite& site, const Hash256& run,
                                                          PolicyVersion version,
                                                          const Hash256& root) {
  const RunDescription& d = site.description;
  const auto lora_config = LoraConfigOf(d.recipe.trainer.lora);
  const ImageForm form =
      FormOf(d.model, site.numerics.weights, lora_config ? &*lora_config : nullptr);
  WG_ASSIGN(const PolicyImage image, ImageOf(UpdatesOf(run), form, version, root));
  std::optional<LoraParameters> lora;
  if (lora_config) {
    WG_ASSIGN(lora, LoraOf(image, d.model, *lora_config));
  }
  return Model::Create(d.model, site.numerics, ImageSource(image), lora ? &*lora : nullptr, ops_);
}

Result<std::unique_ptr<Trainer>> FolderInputs::State(const RunSite& site, const Hash256& run,
                                                     PolicyVersion version, const Hash256& hash) {
  for (const auto& place : folders_) {
    const RunFolder folder(place);
    if (!std::filesystem::exists(folder.checkpoint(version.value))) continue;
    WG_ASSIGN(auto trainer, TrainerAt(site, run, folder, version, ops_, pool_));
    if (trainer->StateHash() == hash) return trainer;
  }
  return Fail(Blame::kMachine, "the trainer's state {}... before version {} is not here ({})",
              ToHex(hash).substr(0, 12), version.value + 1, Places());
}

}  // namespace waggle
