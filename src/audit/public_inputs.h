// Public inputs from folders: those of runs, of volunteers' caches, or of what somebody sent along.
// Reads only, so a run that goes on is not disturbed. Nothing is believed but hashes.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "audit/evidence_check.h"
#include "policy/manifest.h"

namespace waggle {

class FolderInputs final : public PublicInputs {
 public:
  // Each a run's folder, or a folder with policies as PolicyStore keeps them. ops and pool outlive
  // it.
  FolderInputs(std::vector<std::filesystem::path> folders, const Ops& ops, ThreadPool& pool);

  Result<Bytes> Description(const Hash256& run, const Hash256& hash) override;
  Result<std::shared_ptr<const Model>> Policy(const RunSite& site, const Hash256& run,
                                              PolicyVersion version, const Hash256& root) override;
  // Whether Policy() would find a way to this version.
  bool Has(const Hash256& run, PolicyVersion version) const;
  // The root that a manifest here says this version has.
  std::optional<Hash256> RootOf(const Hash256& run, PolicyVersion version) const;
  Result<std::unique_ptr<Trainer>> State(const RunSite& site, const Hash256& run,
                                         PolicyVersion version, const Hash256& hash) override;

 private:
  struct Update {
    PolicyManifest manifest;
    std::filesystem::path folder;
  };
  std::vector<Update> UpdatesOf(const Hash256& run) const;
  Result<PolicyImage> ImageOf(const std::vector<Update>& updates, const ImageForm& form,
                              PolicyVersion version, const Hash256& root);
  std::string Places() const;

  const std::vector<std::filesystem::path> folders_;
  const Ops& ops_;
  ThreadPool& pool_;
};

// What the weights of a run's policies take as they travel, at the most.
std::uint64_t WeightBytesMax(const RunSite& site, WeightFormat format);
std::uint64_t WeightBytesMax(const ModelConfig& model, WeightFormat format,
                             const LoraConfig* lora = nullptr);

// The adapters that a recipe trains, or nothing.
std::optional<LoraConfig> LoraConfigOf(const AdapterConfig& adapter);

}  // namespace waggle
