#include "host/desk_shelf.h"

#include <algorithm>
#include <chrono>

#include "base/files.h"
#include "base/folders.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::int64_t kRetryMs = 500;
constexpr std::int64_t kConnectMs = 30'000;

Result<std::unique_ptr<NodeClient>> Dial(const Invite& invite, Clock& clock) {
  NetLimits limits;
  limits.frame_bytes_max = kProtocol.envelope_bytes_max;
  std::string why = "no answer";
  for (const Endpoint& endpoint : invite.hosts) {
    WG_ASSIGN(auto client, NodeClient::Connect(fmt::format("{}:{}", endpoint.host, endpoint.port),
                                               invite.pin, limits, clock));
    Event event;
    if (client->Next(event, kConnectMs) && event.kind == Event::Kind::kOpened) return client;
    why = event.text;
  }
  return Fail(Blame::kMachine, "cannot reach the host of this invite: {}", why);
}

// Of the first version only the snapshot: there is nothing before it.
template <class F>
void ForEachManifest(std::span<const PolicyTold> rows, F&& use) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].update && (i > 0 || !rows[i].snapshot)) use(rows[i].version, *rows[i].update);
    if (rows[i].snapshot) use(rows[i].version, *rows[i].snapshot);
  }
}

// A memory block that stays.
class BytesBlob final : public Blob {
 public:
  explicit BytesBlob(const Bytes& bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::ranges::copy(std::as_bytes(std::span(bytes_).subspan(offset, out.size())), out.begin());
    return {};
  }

 private:
  const Bytes& bytes_;
};

}  // namespace

DeskShelf::DeskShelf(DeskShelfOptions options, Clock& clock)
    : options_(std::move(options)), clock_(clock), blobs_(clock, options_.seed) {
  blobs_.Tell(options_.mirrors);
}

DeskShelf::~DeskShelf() {
  stop_ = true;
  if (fetching_.valid()) fetching_.wait();
}

Result<std::unique_ptr<DeskShelf>> DeskShelf::Open(DeskShelfOptions options, Clock& clock) {
  WG_TRY(MakeFolder(options.folder));
  std::unique_ptr<DeskShelf> shelf(new DeskShelf(std::move(options), clock));
  WG_TRY(shelf->Describe());
  WG_ASSIGN(shelf->folder_, BlobFolder::OpenAt(shelf->options_.folder));
  shelf->keeper_.emplace(*shelf->folder_, shelf->blobs_, shelf->options_.disk_bytes);
  return shelf;
}

// A desk that comes back does not need the host for this.
Status DeskShelf::Describe() {
  const auto file = options_.folder / "description";
  const Hash256& run = options_.invite.run;
  if (const auto known = ReadFile(file, kDescriptionBytesMax)) {
    description_.assign(known->begin(), known->end());
    if (auto site = MakeRunSite(description_, run)) {
      site_ = std::move(*site);
      return {};
    }
  }
  WG_ASSIGN(const auto client, Dial(options_.invite, clock_));
  WG_ASSIGN(description_, FetchDescription(*client, run));
  WG_ASSIGN(site_, MakeRunSite(description_, run));
  return WriteFileAtomic(file,
                         {reinterpret_cast<const char*>(description_.data()), description_.size()});
}

void DeskShelf::Tell(const std::vector<PolicyTold>& policies) {
  rows_.insert(rows_.end(), policies.begin(), policies.end());
}

std::optional<PolicyVersion> DeskShelf::newest() const {
  return rows_.empty() ? std::nullopt : std::optional(rows_.back().version);
}

// Whatever lies before the last snapshot but one that is here.
void DeskShelf::Forget() {
  std::size_t snapshots = 0, first = came_;
  while (first > 0 && snapshots < 2) snapshots += rows_[--first].snapshot ? 1 : 0;
  rows_.erase(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(first));
  came_ -= first;
}

Status DeskShelf::Fetch() {
  WG_ASSIGN(const auto client, Dial(options_.invite, clock_));
  return keeper_->Follow(client.get(), wanted_, [this] { return stop_.load(); });
}

std::vector<PolicyTold> DeskShelf::Take() {
  std::vector<PolicyTold> taken;
  if (fetching_.valid()) {
    if (fetching_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return taken;
    const Status done = fetching_.get();
    if (!done) {
      if (options_.say) options_.say("policies: " + done.error().what);
      retry_ms_ = NowMs() + kRetryMs;
    } else {
      taken.assign(rows_.begin() + static_cast<std::ptrdiff_t>(came_),
                   rows_.begin() + static_cast<std::ptrdiff_t>(coming_));
      came_ = coming_;
      Forget();
    }
  }
  if (complete() || NowMs() < retry_ms_) return taken;
  // What newcomers need first; a row before that is nobody's any more.
  std::size_t snapshots = 0, first = rows_.size();
  while (first > 0 && snapshots < 2) snapshots += rows_[--first].snapshot ? 1 : 0;
  wanted_.clear();
  ForEachManifest(std::span(rows_).subspan(first), [&](PolicyVersion version, const Hash256& hash) {
    wanted_.push_back({version, hash});
  });
  coming_ = rows_.size();
  fetching_ = std::async(std::launch::async, [this] { return Fetch(); });
  return taken;
}

std::vector<PolicyAnnouncement> DeskShelf::Chain() const {
  std::vector<PolicyAnnouncement> chain;
  ForEachManifest(std::span(rows_).first(came_), [&](PolicyVersion version, const Hash256& hash) {
    chain.push_back({.version = version, .manifest = hash, .sources = {}});
  });
  return chain;
}

Result<std::unique_ptr<Blob>> DeskShelf::Open(const Digest256& hash) {
  if (hash == options_.invite.run)
    return std::unique_ptr<Blob>(std::make_unique<BytesBlob>(description_));
  return folder_->Open(hash);
}

}  // namespace waggle
