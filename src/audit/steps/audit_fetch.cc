#include "audit/steps/audit_fetch.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/folders.h"
#include "base/hex.h"
#include "rollout/limits.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

Status WriteAt(const Descriptor& file, const fs::path& path, std::uint64_t offset,
               std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0)
      return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

// Whether the piece is in the file already.
bool Has(const Descriptor& file, std::uint64_t offset, std::size_t size, const Digest256& digest) {
  Bytes bytes(size);
  const ssize_t got = ::pread(file.get(), bytes.data(), size, static_cast<off_t>(offset));
  return got == static_cast<ssize_t>(size) && Sha256(bytes) == digest;
}

std::string_view TextOf(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

AuditFetch::AuditFetch(Settings settings, Clock& clock)
    : settings_(std::move(settings)),
      folder_(settings_.mirror),
      blobs_(clock, settings_.seed),
      shown_(clock, settings_.seed) {
  blobs_.Tell(settings_.mirrors);
}

AuditFetch::~AuditFetch() {
  if (under_way_.valid()) under_way_.wait();
}

void AuditFetch::Start(NodeClient& client, Wanted wanted) {
  Check(!busy(), "one fetch at a time");
  under_way_ = std::async(std::launch::async, [this, &client, wanted = std::move(wanted)] {
    return Run(client, wanted);
  });
}

std::optional<Status> AuditFetch::Take(int timeout_ms) {
  if (!under_way_.valid() ||
      under_way_.wait_for(std::chrono::milliseconds(timeout_ms)) != std::future_status::ready)
    return std::nullopt;
  return under_way_.get();
}

fs::path AuditFetch::BatchFile(const Digest256& batch) const {
  return settings_.mirror / "batches" / (ToHex(batch) + ".records");
}

void AuditFetch::Forget(PolicyVersion keep) const {
  std::error_code error;
  fs::remove_all(settings_.mirror / "batches", error);
  fs::remove_all(settings_.mirror / "incoming", error);
  for (const std::uint64_t version : folder_.Checkpoints()) {
    if (version != keep.value) fs::remove_all(folder_.checkpoint(version), error);
  }
}

Status AuditFetch::Run(NodeClient& client, const Wanted& wanted) {
  if (wanted.state_version) WG_TRY(GetState(client, *wanted.state_version, wanted.listing));
  for (const Digest256& batch : wanted.batches) WG_TRY(GetBatch(client, batch));
  return wanted.manifests.empty() ? Status{} : GetPolicies(client, wanted.manifests);
}

// Complete or absent: its chunks go to incoming/, and it moves when all of them are there.
Status AuditFetch::GetState(NodeClient& client, PolicyVersion version, const Digest256& digest) {
  if (fs::exists(folder_.checkpoint(version.value) / ToHex(digest))) return {};
  const fs::path incoming = settings_.mirror / "incoming" / ToHex(digest);
  WG_TRY(MakeFolder(incoming));
  WG_ASSIGN(const Bytes encoded, shown_.Fetch(&client, digest, kListingBytesMax));
  WG_ASSIGN(const StateListing listing, DecodeListing(encoded, settings_.state_bytes_max));
  if (listing.run != settings_.run || listing.version != version)
    return Fail(Blame::kPeer, "the listing is of another run or version than was shown");
  for (const StateFile& file : listing.files) {
    fs::path path = incoming / file.name;
    if (file.name.starts_with(kTeacherFile)) {  // the same for every state: not fetched again
      WG_TRY(MakeFolder(folder_.teacher()));
      path = folder_.teacher() / file.name.substr(kTeacherFile.size());
    }
    WG_TRY(GetFile(client, path, file));
  }
  WG_ASSIGN(const fs::path staged, folder_.StageCheckpoint(version.value));
  WG_TRY(RenamePath(incoming, staged / "trainer"));
  WG_TRY(WriteFileAtomic(staged / "run_id", ToHex(settings_.run)));
  WG_TRY(WriteFileAtomic(staged / ToHex(digest), ""));  // which state it is
  return folder_.CommitCheckpoint(version.value);
}

Status AuditFetch::GetFile(NodeClient& client, const fs::path& path, const StateFile& listed) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (file.get() < 0 || ::ftruncate(file.get(), static_cast<off_t>(listed.bytes)) != 0)
    return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(errno));
  for (std::size_t i = 0; i < listed.chunks.size(); ++i) {
    const std::uint64_t at = std::uint64_t{i} * kStateChunkBytes;
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(kStateChunkBytes, listed.bytes - at));
    if (Has(file, at, size, listed.chunks[i])) continue;
    WG_ASSIGN(const Bytes bytes, shown_.Fetch(&client, listed.chunks[i], size));
    if (bytes.size() != size) return Fail(Blame::kPeer, "a chunk of another size than was listed");
    WG_TRY(WriteAt(file, path, at, bytes));
  }
  return {};
}

Status AuditFetch::GetBatch(NodeClient& client, const Digest256& batch) {
  const fs::path path = BatchFile(batch);
  if (fs::exists(path)) return {};
  WG_TRY(MakeFolder(path.parent_path()));
  WG_ASSIGN(const Bytes bytes, shown_.Fetch(&client, batch, kWire.message_bytes_max));
  return WriteFileAtomic(path, TextOf(bytes));
}

Status AuditFetch::GetPolicies(NodeClient& client, const std::vector<Digest256>& manifests) {
  const fs::path folder = settings_.mirror / "policies";
  const StoreConfig everything{.snapshots_kept = std::size_t{1} << 40,
                               .payload_bytes_max = settings_.payload_bytes_max,
                               .incoming_max = manifests.size() + 1};
  std::uint64_t held = 0;
  {
    WG_ASSIGN(PolicyStore store, PolicyStore::Open(folder, settings_.run, pool_, everything));
    for (const PolicyLink& link : store.Links()) held += link.bytes;
  }
  if (held > kMirrorPolicyBytes) WG_TRY(RemovePath(folder));
  WG_ASSIGN(PolicyStore store, PolicyStore::Open(folder, settings_.run, pool_, everything));
  for (const Digest256& digest : manifests) {
    if (store.Find(digest) == nullptr) {
      WG_ASSIGN(const Bytes encoded, blobs_.Fetch(&client, digest, kManifestBytesMax));
      WG_TRY(store.AddManifest(encoded, digest));
    }
    const PolicyManifest manifest = *store.Find(digest);
    for (const std::size_t chunk : store.Missing(digest)) {
      WG_ASSIGN(const Bytes bytes,
                blobs_.Fetch(&client, manifest.chunks[chunk], manifest.ChunkSize(chunk)));
      WG_TRY(store.AddChunk(digest, chunk, bytes));
    }
  }
  return {};
}

}  // namespace waggle
