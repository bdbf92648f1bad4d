// A desk's policies: fetched from the host (or a mirror) as it announces them, kept as files named
// by their hashes, and given to the desk's volunteers beside the run's description.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "channel/relay_keeper.h"
#include "protocol/invite.h"
#include "protocol/messages.h"
#include "run/run_site.h"
#include "store/desks.h"

namespace waggle {

struct DeskShelfOptions {
  std::filesystem::path folder;
  Invite invite;                     // of the run's host
  std::vector<std::string> mirrors;  // asked before the host
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::uint64_t seed = 0;  // of the draw among mirrors
  std::function<void(const std::string&)> say;
};

class DeskShelf final : public BlobSource {
 public:
  // Asks the host what the run is, unless the folder knows. `clock` outlives the shelf.
  static Result<std::unique_ptr<DeskShelf>> Open(DeskShelfOptions options, Clock& clock);
  ~DeskShelf() override;  // after the fetch that is under way

  RunSite& site() { return *site_; }

  // What was announced after newest(), in order.
  void Tell(const std::vector<PolicyTold>& policies);
  std::optional<PolicyVersion> newest() const;
  // Versions that have come since the last call, in order. Never waits.
  std::vector<PolicyTold> Take();
  bool complete() const { return came_ == rows_.size(); }  // all that was told has come
  // What newcomers are told, of what has come.
  std::vector<PolicyAnnouncement> Chain() const;

  Result<std::unique_ptr<Blob>> Open(const Digest256& hash) override;  // any thread

 private:
  DeskShelf(DeskShelfOptions options, Clock& clock);
  std::int64_t NowMs() const { return clock_.MonotonicNs() / 1'000'000; }
  Status Describe();
  Status Fetch();
  void Forget();

  const DeskShelfOptions options_;
  Clock& clock_;
  BlobFetcher blobs_;
  std::unique_ptr<RunSite> site_;
  Bytes description_;
  std::unique_ptr<BlobFolder> folder_;
  std::optional<RelayKeeper> keeper_;
  // From the last snapshot but one on; the first came_ of them are here. Newcomers that hold a
  // version of the older chain go on from there.
  std::vector<PolicyTold> rows_;
  std::size_t came_ = 0;
  std::vector<AnnouncedPolicy> wanted_;  // the fetch's
  std::size_t coming_ = 0;               // how many of rows_ are here when it is done
  std::future<Status> fetching_;         // uses blobs_, keeper_ and wanted_
  std::atomic<bool> stop_ = false;
  std::int64_t retry_ms_ = 0;
};

}  // namespace waggle
