#include "channel/blob_folder.h"

#include <cstring>
#include <vector>

#include "base/files.h"
#include "base/folders.h"
#include "base/hex.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

class FileBlob final : public Blob {
 public:
  explicit FileBlob(MappedFile file) : file_(std::move(file)) {}
  std::uint64_t size() const override { return file_.bytes().size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), file_.bytes().data() + offset, out.size());
    return {};
  }

 private:
  const MappedFile file_;
};

}  // namespace

Result<std::unique_ptr<BlobFolder>> BlobFolder::OpenAt(const fs::path& root) {
  std::unique_ptr<BlobFolder> folder(new BlobFolder(fs::absolute(root) / "blob"));
  WG_TRY(MakeFolder(folder->folder_));
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(folder->folder_)) {
    const auto file = MappedFile::Open(entry.path());
    const Digest256 hash = file ? Sha256Hasher().Update(file->bytes()).Finish() : Digest256{};
    if (file && entry.path().filename() == ToHex(hash)) {
      folder->sizes_[hash] = file->bytes().size();
    } else {
      others.push_back(entry.path());
    }
  }
  for (const fs::path& path : others) WG_TRY(RemovePath(path));
  return folder;
}

fs::path BlobFolder::FileOf(const Digest256& hash) const { return folder_ / ToHex(hash); }

Status BlobFolder::Put(const Digest256& hash, std::span<const std::uint8_t> bytes) {
  if (Sha256(bytes) != hash)
    return Fail(Blame::kPeer, "{} bytes that are not {}", bytes.size(), ToHex(hash));
  if (Has(hash)) return {};
  WG_TRY(
      WriteFileAtomic(FileOf(hash), {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  const std::lock_guard lock(mutex_);
  sizes_[hash] = bytes.size();
  return {};
}

bool BlobFolder::Has(const Digest256& hash) const {
  const std::lock_guard lock(mutex_);
  return sizes_.contains(hash);
}

Result<Bytes> BlobFolder::Get(const Digest256& hash) const {
  WG_ASSIGN(const MappedFile file, MappedFile::Open(FileOf(hash)));
  const auto* begin = reinterpret_cast<const std::uint8_t*>(file.bytes().data());
  return Bytes(begin, begin + file.bytes().size());
}

Status BlobFolder::Retain(const std::set<Digest256>& kept) {
  std::vector<Digest256> gone;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [hash, size] : sizes_)
      if (!kept.contains(hash)) gone.push_back(hash);
    for (const Digest256& hash : gone) sizes_.erase(hash);
  }
  for (const Digest256& hash : gone) WG_TRY(RemovePath(FileOf(hash)));
  return {};
}

std::uint64_t BlobFolder::bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [hash, size] : sizes_) sum += size;
  return sum;
}

Result<std::unique_ptr<Blob>> BlobFolder::Open(const Digest256& hash) {
  if (!Has(hash)) return std::unique_ptr<Blob>();
  WG_ASSIGN(MappedFile file, MappedFile::Open(FileOf(hash)));
  return std::unique_ptr<Blob>(std::make_unique<FileBlob>(std::move(file)));
}

}  // namespace waggle
