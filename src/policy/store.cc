#include "policy/store.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/descriptor.h"
#include "base/folders.h"
#include "base/hex.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr const char* kManifestFile = "manifest.bin";
constexpr const char* kPayloadFile = "payload.bin";
constexpr const char* kIncoming = "incoming";
constexpr std::string_view kDead = ".old";  // moved out of the way, about to be removed

// "full-<number>" or "patch-<number>-<number>": nothing else in the folder is ever touched.
bool IsOurName(std::string_view name) {
  const bool full = name.starts_with("full-"), patch = name.starts_with("patch-");
  if (!full && !patch) return false;
  const std::string_view numbers = name.substr(name.find('-') + 1);
  return numbers.find_first_not_of("0123456789-") == std::string_view::npos &&
         std::ranges::count(numbers, '-') == (patch ? 1 : 0);
}

std::span<const std::uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::span<const std::uint8_t> AsBytes(const MappedFile& file) {
  return {reinterpret_cast<const std::uint8_t*>(file.bytes().data()), file.bytes().size()};
}

// Creates the file, or lengthens it with a hole, to `size`.
Status SizeFile(const fs::path& path, std::uint64_t size) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (file.get() < 0 || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    return Fail(Blame::kMachine, "cannot size {}: {}", path.string(), std::strerror(errno));
  return {};
}

Status WriteAt(const fs::path& path, std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  while (file.get() >= 0 && !bytes.empty()) {
    const ssize_t put =
        ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) break;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  if (!bytes.empty())
    return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(errno));
  return {};
}

Status SyncFile(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 || ::fsync(file.get()) != 0)
    return Fail(Blame::kMachine, "cannot sync {}: {}", path.string(), std::strerror(errno));
  return {};
}

Result<PolicyManifest> ReadManifest(const fs::path& folder) {
  WG_ASSIGN(const std::string bytes, ReadFile(folder / kManifestFile, kManifestBytesMax));
  return DecodeManifest(AsBytes(bytes));
}

// Which chunks of the file are what the manifest says. A shorter file has the chunks it has.
std::vector<bool> VerifiedChunks(const PolicyManifest& manifest, std::span<const std::uint8_t> file,
                                 ThreadPool& pool) {
  std::vector<std::uint8_t> good(manifest.chunks.size());
  pool.Run(good.size(), [&](std::size_t i) {
    if (manifest.ChunkOffset(i) + manifest.ChunkSize(i) > file.size()) return;
    good[i] = Sha256(ChunkOf(manifest, file, i)) == manifest.chunks[i] ? 1 : 0;
  });
  return {good.begin(), good.end()};
}

}  // namespace

std::span<const std::uint8_t> PolicyStore::Stored::bytes() const { return AsBytes(payload); }

PolicyStore::PolicyStore(fs::path root, const Hash256& run, ThreadPool& pool,
                         const StoreConfig& config)
    : root_(std::move(root)), run_(run), pool_(&pool), config_(config) {}

fs::path PolicyStore::FolderOf(const Key& key) const {
  const std::string version = std::to_string(key.version.value);
  if (!key.base) return root_ / ("full-" + version);
  return root_ / ("patch-" + std::to_string(key.base->value) + "-" + version);
}

fs::path PolicyStore::IncomingFolder(const Digest256& digest) const {
  return root_ / kIncoming / ToHex(digest);
}

Result<PolicyStore> PolicyStore::Open(fs::path root, const Hash256& run, ThreadPool& pool,
                                      const StoreConfig& config) {
  if (config.snapshots_kept < 1)
    return Fail(Blame::kOperator, "a store of policies keeps one snapshot at least");
  PolicyStore store(fs::absolute(root), run, pool, config);
  WG_TRY(MakeFolder(store.root_ / kIncoming));
  WG_TRY(store.LoadPublished());
  WG_TRY(store.LoadIncoming());
  WG_TRY(store.Prune());
  return store;
}

Status PolicyStore::LoadPublished() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root_)) folders.push_back(entry.path());
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    if (name.ends_with(kDead) && IsOurName(name.substr(0, name.size() - kDead.size()))) {
      WG_TRY(RemovePath(folder));
      continue;
    }
    if (!IsOurName(name)) continue;
    const auto manifest = ReadManifest(folder);
    if (!manifest || FolderOf(KeyOf(*manifest)) != folder) {
      // Never published like this: damage. It can be fetched again.
      WG_TRY(RemovePath(folder));
      continue;
    }
    if (manifest->run != run_)
      return Fail(Blame::kOperator, "{} belongs to another run: {}", folder.string(),
                  ToHex(manifest->run));
    published_[KeyOf(*manifest)] = {*manifest, waggle::DigestOf(*manifest)};
  }
  return {};
}

Status PolicyStore::LoadIncoming() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root_ / kIncoming))
    folders.push_back(entry.path());
  std::ranges::sort(folders);
  for (const fs::path& folder : folders) WG_TRY(ResumeIncoming(folder));
  return {};
}

Status PolicyStore::ResumeIncoming(const fs::path& folder) {
  const auto manifest = ReadManifest(folder);
  // The name says what was announced: anything else under it was cut short, or is not ours.
  if (!manifest || manifest->run != run_ ||
      ToHex(waggle::DigestOf(*manifest)) != folder.filename().string() ||
      !CheckAgainstKnown(*manifest, waggle::DigestOf(*manifest)))
    return RemovePath(folder);
  const Digest256 digest = waggle::DigestOf(*manifest);
  WG_TRY(SizeFile(folder / kPayloadFile, manifest->payload_bytes));
  WG_ASSIGN(const MappedFile file, MappedFile::Open(folder / kPayloadFile));
  Incoming incoming{*manifest, VerifiedChunks(*manifest, AsBytes(file), *pool_)};
  incoming.missing =
      static_cast<std::size_t>(std::count(incoming.have.begin(), incoming.have.end(), false));
  const bool complete = incoming.missing == 0;
  incoming_[digest] = std::move(incoming);
  return complete ? Complete(digest) : Status{};
}

Status PolicyStore::CheckAgainstKnown(const PolicyManifest& manifest,
                                      const Digest256& digest) const {
  const auto check = [&](const PolicyManifest& known, const Digest256& known_digest) -> Status {
    if (KeyOf(known) == KeyOf(manifest) && known_digest != digest)
      return Fail(Blame::kPeer, "version {} has two manifests: {} and {}", manifest.version.value,
                  ToHex(known_digest), ToHex(digest));
    if (known.version == manifest.version && known.root != manifest.root)
      return Fail(Blame::kPeer, "manifest field root: version {} is {} and {}",
                  manifest.version.value, ToHex(known.root), ToHex(manifest.root));
    const bool other_base = manifest.base == known.version && manifest.base_root != known.root;
    const bool other_next = known.base == manifest.version && known.base_root != manifest.root;
    if (other_base || other_next)
      return Fail(Blame::kPeer, "manifest field base_root: versions {} and {} are of two chains",
                  known.version.value, manifest.version.value);
    return {};
  };
  for (const auto& [key, known] : published_) WG_TRY(check(known.manifest, known.digest));
  for (const auto& [known_digest, known] : incoming_) WG_TRY(check(known.manifest, known_digest));
  return {};
}

Status PolicyStore::AddManifest(std::span<const std::uint8_t> bytes, const Digest256& announced) {
  WG_ASSIGN(const PolicyManifest manifest, DecodeManifest(bytes));
  if (Sha256(bytes) != announced)
    return Fail(Blame::kPeer, "not the manifest that was announced: {} instead of {}",
                ToHex(Sha256(bytes)), ToHex(announced));
  if (manifest.run != run_)
    return Fail(Blame::kPeer, "manifest field run: {}, ours is {}", ToHex(manifest.run),
                ToHex(run_));
  if (manifest.payload_bytes > config_.payload_bytes_max)
    return Fail(Blame::kPeer, "manifest field payload_bytes: {}, the limit is {}",
                manifest.payload_bytes, config_.payload_bytes_max);
  WG_TRY(CheckAgainstKnown(manifest, announced));
  if (incoming_.contains(announced) || published_.contains(KeyOf(manifest))) return {};
  const auto oldest = OldestKept();
  if (oldest && manifest.base.value_or(manifest.version) < *oldest)
    return Fail(Blame::kOperator, "version {} is older than what is kept, from {} on",
                manifest.version.value, oldest->value);
  if (incoming_.size() >= config_.incoming_max)
    return Fail(Blame::kOperator, "{} versions are on their way already", incoming_.size());
  const fs::path folder = IncomingFolder(announced);
  WG_TRY(RemovePath(folder));
  WG_TRY(MakeFolder(folder));
  WG_TRY(SizeFile(folder / kPayloadFile, manifest.payload_bytes));
  // Last: a folder without it does not count.
  WG_TRY(WriteFileAtomic(folder / kManifestFile,
                         {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  incoming_[announced] = {manifest, std::vector<bool>(manifest.chunks.size()),
                          manifest.chunks.size()};
  return {};
}

Result<ChunkOutcome> PolicyStore::AddChunk(const Digest256& digest, std::size_t chunk,
                                           std::span<const std::uint8_t> bytes) {
  const auto at = incoming_.find(digest);
  if (at == incoming_.end()) {
    const bool published = std::ranges::any_of(
        published_, [&](const auto& entry) { return entry.second.digest == digest; });
    return published ? ChunkOutcome::kDuplicate : ChunkOutcome::kUnwanted;
  }
  Incoming& incoming = at->second;
  const PolicyManifest& manifest = incoming.manifest;
  if (chunk >= manifest.chunks.size())
    return Fail(Blame::kPeer, "chunk {} of version {}, which has {}", chunk, manifest.version.value,
                manifest.chunks.size());
  if (incoming.have[chunk]) return ChunkOutcome::kDuplicate;
  if (bytes.size() != manifest.ChunkSize(chunk))
    return Fail(Blame::kPeer, "chunk {} of version {} has {} bytes instead of {}", chunk,
                manifest.version.value, bytes.size(), manifest.ChunkSize(chunk));
  if (Sha256(bytes) != manifest.chunks[chunk])
    return Fail(Blame::kPeer, "chunk {} of version {} is forged: its SHA-256 is not the manifest's",
                chunk, manifest.version.value);
  WG_TRY(WriteAt(IncomingFolder(digest) / kPayloadFile, manifest.ChunkOffset(chunk), bytes));
  incoming.have[chunk] = true;
  if (--incoming.missing > 0) return ChunkOutcome::kStored;
  WG_TRY(Complete(digest));
  WG_TRY(Prune());
  return ChunkOutcome::kPublished;
}

std::vector<std::size_t> PolicyStore::Missing(const Digest256& manifest) const {
  std::vector<std::size_t> missing;
  const auto at = incoming_.find(manifest);
  if (at == incoming_.end()) return missing;
  for (std::size_t i = 0; i < at->second.have.size(); ++i)
    if (!at->second.have[i]) missing.push_back(i);
  return missing;
}

Status PolicyStore::Publish(const PolicyManifest& manifest, std::span<const std::uint8_t> payload) {
  const Bytes bytes = Encode(manifest);
  const Digest256 digest = Sha256(bytes);
  WG_TRY(AddManifest(bytes, digest));
  for (const std::size_t chunk : Missing(digest))
    WG_TRY(AddChunk(digest, chunk, ChunkOf(manifest, payload, chunk)));
  return {};
}

// The one rename. Bytes are on the disk before it, and the name after it.
Status PolicyStore::Complete(const Digest256& digest) {
  const PolicyManifest manifest = incoming_.at(digest).manifest;
  const fs::path folder = IncomingFolder(digest);
  WG_TRY(SyncFile(folder / kPayloadFile));
  WG_TRY(SyncFolder(folder));
  WG_TRY(RenamePath(folder, FolderOf(KeyOf(manifest))));
  incoming_.erase(digest);
  WG_TRY(SyncFolder(root_));
  published_[KeyOf(manifest)] = {manifest, digest};
  return {};
}

// Out of the way in one rename first: a half-removed version never looks complete.
Status PolicyStore::Remove(const Key& key) {
  const fs::path folder = FolderOf(key);
  fs::path dead = folder;
  dead += kDead;
  published_.erase(key);
  WG_TRY(RemovePath(dead));
  WG_TRY(RenamePath(folder, dead));
  return RemovePath(dead);
}

Status PolicyStore::RemoveFrom(PolicyVersion version) {
  std::vector<Key> keys;
  for (const auto& [key, published] : published_)
    if (key.version >= version) keys.push_back(key);
  for (const Key& key : keys) WG_TRY(Remove(key));
  std::vector<Digest256> coming;
  for (const auto& [digest, incoming] : incoming_)
    if (incoming.manifest.version >= version) coming.push_back(digest);
  for (const Digest256& digest : coming) {
    incoming_.erase(digest);
    WG_TRY(RemovePath(IncomingFolder(digest)));
  }
  return {};
}

const PolicyManifest* PolicyStore::Find(const Digest256& manifest) const {
  const auto incoming = incoming_.find(manifest);
  if (incoming != incoming_.end()) return &incoming->second.manifest;
  for (const auto& [key, published] : published_)
    if (published.digest == manifest) return &published.manifest;
  return nullptr;
}

std::optional<PolicyVersion> PolicyStore::OldestKept() const {
  std::vector<PolicyVersion> snapshots;
  for (const auto& [key, published] : published_)
    if (!key.base) snapshots.push_back(key.version);
  if (snapshots.size() < config_.snapshots_kept) return std::nullopt;
  const auto bytes_from = [&](PolicyVersion first) {
    std::uint64_t bytes = 0;
    for (const auto& [key, published] : published_)
      if (key.base.value_or(key.version) >= first) bytes += published.manifest.payload_bytes;
    return bytes;
  };
  std::size_t oldest = snapshots.size() - config_.snapshots_kept;  // the map is ordered by version
  while (oldest > 0) {
    const std::uint64_t held = snapshots[oldest] > held_from_ ? config_.held_bytes : 0;
    if (bytes_from(snapshots[oldest - 1]) > std::max(config_.spare_bytes, held)) break;
    --oldest;
  }
  return snapshots[oldest];
}

Status PolicyStore::Prune() {
  const auto oldest = OldestKept();
  if (!oldest) return {};
  std::vector<Key> old;
  for (const auto& [key, published] : published_)
    if (key.base.value_or(key.version) < *oldest) old.push_back(key);
  for (const Key& key : old) WG_TRY(Remove(key));
  std::vector<Digest256> late;
  for (const auto& [digest, incoming] : incoming_)
    if (incoming.manifest.base.value_or(incoming.manifest.version) < *oldest)
      late.push_back(digest);
  for (const Digest256& digest : late) {
    incoming_.erase(digest);
    WG_TRY(RemovePath(IncomingFolder(digest)));
  }
  return {};
}

Result<std::optional<PolicyStore::Stored>> PolicyStore::Read(std::optional<PolicyVersion> base,
                                                             PolicyVersion version) {
  const Key key{base, version};
  const auto at = published_.find(key);
  if (at == published_.end()) return std::nullopt;
  const PolicyManifest manifest = at->second.manifest;
  auto file = MappedFile::Open(FolderOf(key) / kPayloadFile);
  if (file && file->bytes().size() == manifest.payload_bytes) {
    const std::vector<bool> good = VerifiedChunks(manifest, AsBytes(*file), *pool_);
    if (std::find(good.begin(), good.end(), false) == good.end())
      return Stored{manifest, std::move(*file)};
  }
  const std::string what = FolderOf(key).string();
  WG_TRY(Remove(key));
  return Fail(Blame::kMachine, "{} was damaged on disk and is removed: fetch it again", what);
}

std::vector<PolicyLink> PolicyStore::Links() const {
  std::vector<PolicyLink> links;
  for (const auto& [key, published] : published_)
    links.push_back({key.base, key.version, published.manifest.payload_bytes});
  std::ranges::sort(links, {}, [](const PolicyLink& link) {
    return std::tuple(link.version, link.base.has_value(), link.base);
  });
  return links;
}

std::optional<PolicyVersion> PolicyStore::Newest() const {
  std::optional<PolicyVersion> newest;
  std::set<PolicyVersion> reached;
  for (const PolicyLink& link : Links()) {  // bases come first
    if (link.base && !reached.contains(*link.base)) continue;
    reached.insert(link.version);
    newest = link.version;
  }
  return newest;
}

std::optional<Digest256> PolicyStore::RootOf(PolicyVersion version) const {
  for (const auto& [key, published] : published_) {
    if (key.version == version) return published.manifest.root;
    if (key.base == version) return published.manifest.base_root;
  }
  return std::nullopt;
}

std::optional<Digest256> PolicyStore::DigestOf(const PolicyLink& link) const {
  const auto at = published_.find({link.base, link.version});
  if (at == published_.end()) return std::nullopt;
  return at->second.digest;
}

std::optional<PolicyVersion> PolicyStore::VersionOf(const Digest256& root) const {
  std::optional<PolicyVersion> found;
  for (const auto& [key, published] : published_) {
    if (published.manifest.root == root) found = std::max(found, std::optional(key.version));
    if (key.base && published.manifest.base_root == root) found = std::max(found, key.base);
  }
  return found;
}

}  // namespace waggle
