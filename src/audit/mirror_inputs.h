// Public inputs from relays over HTTP, beside folders: what evidence names by hash is fetched from
// whoever has it (docs/policy-channel.md), so a file can be decided by somebody who has nothing but
// the file. Relays are not believed: a policy is used if its root is the one in the evidence.
//
// States of trainers are not on relays: evidence about training steps wants a folder.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "audit/public_inputs.h"
#include "channel/blob_fetcher.h"

namespace waggle {

class MirrorInputs final : public PublicInputs {
 public:
  struct Places {
    std::vector<std::filesystem::path> folders;  // looked into first; as FolderInputs takes them
    std::vector<std::string> relays;             // URLs
    // Policies are kept in it, each in a folder named by its root; created when needed. What a kill
    // leaves there is gone on from.
    std::filesystem::path cache;
  };
  // ops, pool and clock outlive it. say: lines about what is fetched.
  MirrorInputs(Places places, const Ops& ops, ThreadPool& pool, Clock& clock,
               std::function<void(const std::string&)> say);

  Result<Bytes> Description(const Hash256& run, const Hash256& hash) override;
  Result<std::shared_ptr<const Model>> Policy(const RunSite& site, const Hash256& run,
                                              PolicyVersion version, const Hash256& root) override;
  Result<std::unique_ptr<Trainer>> State(const RunSite& site, const Hash256& run,
                                         PolicyVersion version, const Hash256& hash) override;

 private:
  Result<std::vector<Digest256>> WayTo(const std::string& relay, const Hash256& run,
                                       PolicyVersion version);
  Status Gather(const std::string& relay, const std::filesystem::path& folder, const RunSite& site,
                const Hash256& run, PolicyVersion version);

  const Places places_;
  const Ops& ops_;
  ThreadPool& pool_;
  const std::function<void(const std::string&)> say_;
  FolderInputs folders_;
  BlobFetcher blobs_;
};

}  // namespace waggle
