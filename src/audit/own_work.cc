#include "audit/own_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/folders.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatchBytesMax = std::size_t{64} << 20;
constexpr std::size_t kGroupBytesMax = std::size_t{64} << 20;
constexpr std::size_t kBatchesMax = 4096;
constexpr std::size_t kReceiptMax = std::size_t{1} << 14;

std::string_view TextOf(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

fs::path OwnWork::FileOf(LeaseId lease) const {
  return folder_ / fmt::format("{:016x}.group", lease.value);
}
fs::path OwnWork::FileOf(std::uint64_t epoch) const {
  return folder_ / fmt::format("{:08}.batch", epoch);
}

Result<OwnWork> OwnWork::Open(fs::path folder, std::uint64_t bytes_max) {
  WG_TRY(MakeFolder(folder));
  OwnWork work(std::move(folder), bytes_max);
  struct File {
    fs::file_time_type written;
    std::uint64_t lease = 0, bytes = 0;
  };
  std::vector<File> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(work.folder_, error)) {
    const std::string stem = entry.path().stem().string();
    std::uint64_t number = 0;
    const bool group = entry.path().extension() == ".group";
    const auto [end, bad] =
        std::from_chars(stem.data(), stem.data() + stem.size(), number, group ? 16 : 10);
    if (bad != std::errc() || end != stem.data() + stem.size()) continue;  // not ours
    if (group) files.push_back({entry.last_write_time(error), number, entry.file_size(error)});
    if (entry.path().extension() == ".batch") {
      work.batches_.insert(number);
    }
  }
  if (error) return Fail(Blame::kMachine, "{}: {}", work.folder_.string(), error.message());
  std::ranges::sort(files, {}, [](const File& f) { return std::pair(f.written, f.lease); });
  for (const File& file : files) work.Note(LeaseId{file.lease}, file.bytes);
  work.MakeRoom();
  return work;
}

void OwnWork::Note(LeaseId lease, std::uint64_t bytes) {
  const auto [size, fresh] = sizes_.emplace(lease.value, bytes);
  if (fresh) {
    order_.push_back(lease);
  } else {
    bytes_ -= size->second;
    size->second = bytes;
  }
  bytes_ += bytes;
}

void OwnWork::MakeRoom() {
  while (bytes_ > bytes_max_ && order_.size() > 1) Drop(order_.front());
  while (batches_.size() > kBatchesMax) {
    std::error_code ignored;
    fs::remove(FileOf(*batches_.begin()), ignored);
    batches_.erase(batches_.begin());
  }
}

Status OwnWork::Keep(const GroupRecord& record) {
  const Bytes bytes = EncodeRecords(std::span(&record, 1));
  WG_TRY(WriteFileAtomic(FileOf(record.lease.id), TextOf(bytes)));
  Note(record.lease.id, bytes.size());
  MakeRoom();
  return {};
}

Status OwnWork::Keep(const SignedWork& batch) {
  const std::uint64_t epoch = batch.claim.epoch;
  WG_TRY(WriteFileAtomic(FileOf(epoch), TextOf(WireEncode(batch, kBatchBytesMax))));
  batches_.insert(epoch);
  MakeRoom();
  return {};
}

Status OwnWork::KeepReceipt(LeaseId lease, const Bytes& receipt) {
  return WriteFileAtomic(folder_ / fmt::format("{:016x}.receipt", lease.value), TextOf(receipt));
}

void OwnWork::DropReceipt(LeaseId lease) {
  std::error_code ignored;
  fs::remove(folder_ / fmt::format("{:016x}.receipt", lease.value), ignored);
}

std::map<LeaseId, Bytes> OwnWork::Receipts() const {
  std::map<LeaseId, Bytes> receipts;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().extension() != ".receipt") continue;
    const std::string stem = entry.path().stem().string();
    std::uint64_t lease = 0;
    std::from_chars(stem.data(), stem.data() + stem.size(), lease, 16);
    const auto text = ReadFile(entry.path(), kReceiptMax);
    if (text) receipts[LeaseId{lease}] = Bytes(text->begin(), text->end());
  }
  return receipts;
}

void OwnWork::Drop(LeaseId lease) {
  const auto size = sizes_.find(lease.value);
  if (size == sizes_.end()) return;
  bytes_ -= size->second;
  sizes_.erase(size);
  std::erase(order_, lease);
  std::error_code ignored;
  fs::remove(FileOf(lease), ignored);
}

Result<SignedWork> OwnWork::BatchOf(std::uint64_t epoch) const {
  WG_ASSIGN(const std::string text, ReadFile(FileOf(epoch), kBatchBytesMax));
  auto batch = WireDecode<SignedWork>(BytesOf(text), kBatchBytesMax);
  if (!batch) return Fail(Blame::kMachine, "{}: {}", FileOf(epoch).string(), batch.error().what);
  return std::move(*batch);
}

Result<GroupRecord> OwnWork::GroupOf(LeaseId lease) const {
  WG_ASSIGN(const std::string text, ReadFile(FileOf(lease), kGroupBytesMax));
  auto records = DecodeRecords(BytesOf(text));
  if (!records || records->size() != 1)
    return Fail(Blame::kMachine, "{} is damaged", FileOf(lease).string());
  return std::move(records->front());
}

std::vector<LeaseId> OwnWork::Newest(std::size_t most) const {
  std::vector<LeaseId> leases(order_.rbegin(), order_.rend());
  if (leases.size() > most) leases.resize(most);
  return leases;
}

}  // namespace waggle
