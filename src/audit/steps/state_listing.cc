#include "audit/steps/state_listing.h"

#include <algorithm>

#include "base/files.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StateFile>
void Fields(T& x, V&& v) {
  v.Text(1, "name", x.name, 64);
  v(2, "bytes", x.bytes);
  v.Numbers(3, "chunks", x.chunks, kListingBytesMax / 32);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StateListing>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "version", x.version);
  v.Structs(3, "files", x.files, kStateFilesMax);
}

namespace {

bool IsName(std::string_view name) {
  return !name.empty() && name.front() != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

// Without overflow, whatever a stranger says.
std::uint64_t ChunksOf(std::uint64_t bytes) {
  return bytes / kStateChunkBytes + (bytes % kStateChunkBytes != 0 ? 1 : 0);
}

}  // namespace

std::uint64_t StateListing::bytes() const {
  std::uint64_t sum = 0;
  for (const StateFile& file : files) sum += file.bytes;
  return sum;
}

Bytes Encode(const StateListing& listing) { return WireEncode(listing, kListingBytesMax); }

Result<StateListing> DecodeListing(std::span<const std::uint8_t> bytes, std::uint64_t bytes_max) {
  auto listing = WireDecode<StateListing>(bytes, kListingBytesMax);
  if (!listing) return Fail(Blame::kPeer, "listing of a state: {}", listing.error().what);
  std::uint64_t sum = 0;
  const std::string* before = nullptr;
  for (const StateFile& file : listing->files) {
    const std::string_view name = file.name;
    const bool teachers = name.starts_with(kTeacherFile);
    if (!IsName(name) || (teachers && !IsName(name.substr(kTeacherFile.size()))) ||
        (before != nullptr && *before >= file.name))
      return Fail(Blame::kPeer, "listing of a state: a file name that is none, or out of order");
    if (file.bytes > bytes_max - sum)
      return Fail(Blame::kPeer, "listing of a state: more than {} bytes", bytes_max);
    if (file.chunks.size() != ChunksOf(file.bytes))
      return Fail(Blame::kPeer, "listing of a state: {} has {} bytes in {} chunks", file.name,
                  file.bytes, file.chunks.size());
    sum += file.bytes;
    before = &file.name;
  }
  return std::move(*listing);
}

namespace {

// In order of their names, each with this in front.
Result<std::vector<StateFile>> ListFiles(const std::filesystem::path& folder,
                                         std::string_view prefix) {
  std::vector<StateFile> files;
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    paths.push_back(entry.path());
  if (error) return Fail(Blame::kMachine, "{}: {}", folder.string(), error.message());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    WG_ASSIGN(const MappedFile mapped, MappedFile::Open(path));
    const std::span<const std::byte> bytes = mapped.bytes();
    StateFile file{.name = std::string(prefix) + path.filename().string(),
                   .bytes = bytes.size(),
                   .chunks = {}};
    for (std::size_t at = 0; at < bytes.size(); at += kStateChunkBytes) {
      const auto chunk = bytes.subspan(at, std::min(kStateChunkBytes, bytes.size() - at));
      file.chunks.push_back(Sha256Hasher().Update(chunk).Finish());
    }
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

Result<StateListing> ListState(const std::filesystem::path& folder, const Hash256& run,
                               PolicyVersion version, std::vector<StateFile> teacher) {
  StateListing listing{.run = run, .version = version, .files = {}};
  WG_ASSIGN(listing.files, ListFiles(folder, ""));
  std::ranges::move(teacher, std::back_inserter(listing.files));
  std::ranges::sort(listing.files, {}, &StateFile::name);
  return listing;
}

Result<std::vector<StateFile>> ListTeacher(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder)) return std::vector<StateFile>();
  return ListFiles(folder, kTeacherFile);
}

}  // namespace waggle
