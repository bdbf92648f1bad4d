#include "delegation/record_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/files.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kFileBytesMax = std::size_t{1} << 34;

}  // namespace

Result<std::vector<Bytes>> RecordFile::Read(const fs::path& path, std::size_t record_bytes) {
  std::vector<Bytes> records;
  if (!fs::exists(path)) return records;
  WG_ASSIGN(const std::string text, ReadFile(path, kFileBytesMax));
  for (std::size_t at = 0; at + record_bytes <= text.size(); at += record_bytes)
    records.emplace_back(text.begin() + static_cast<std::ptrdiff_t>(at),
                         text.begin() + static_cast<std::ptrdiff_t>(at + record_bytes));
  return records;
}

Result<RecordFile> RecordFile::Open(const fs::path& path, std::size_t record_bytes) {
  RecordFile file;
  file.path_ = path;
  file.record_bytes_ = record_bytes;
  WG_ASSIGN(file.records_, Read(path, record_bytes));
  std::error_code error;
  if (fs::exists(path)) fs::resize_file(path, file.count() * record_bytes, error);
  file.file_.reset(std::fopen(path.c_str(), "a"));
  if (error || file.file_ == nullptr)
    return Fail(Blame::kMachine, "cannot write {}: {}", path.string(),
                error ? error.message() : std::strerror(errno));
  return file;
}

Status RecordFile::Put(std::uint64_t index, Bytes record, const char* what) {
  Check(record.size() == record_bytes_, "records of a file have one size");
  Check(index <= count(), "records are noted in their order");
  if (index < count()) {
    if (records_[index] == record) return {};
    return Fail(Blame::kMachine,
                "{} {} comes to something else than it did before the run was stopped: this "
                "machine's arithmetic cannot be relied on",
                what, index);
  }
  std::FILE* file = file_.get();
  if (std::fwrite(record.data(), 1, record.size(), file) != record.size() || std::fflush(file) != 0)
    return Fail(Blame::kMachine, "cannot write {}: {}", path_.string(), std::strerror(errno));
  records_.push_back(std::move(record));
  return {};
}

}  // namespace waggle
