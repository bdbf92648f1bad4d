#include "delegation/dispute_journal.h"

#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/hex.h"
#include "delegation/dispute_wire.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kFileBytesMax = kDisputeLimits.evidence_bytes_max + 64;

std::string NameOf(const DisputeTerms& terms) { return ToHex(DisputeId(terms)).substr(0, 16); }

}  // namespace

Result<DisputeJournal> DisputeJournal::Begin(const fs::path& folder, const DisputeTerms& terms,
                                             std::int64_t opened_ns) {
  DisputeJournal journal(folder / (NameOf(terms) + std::string(kJournalExtension)));
  journal.read_ = {terms, opened_ns, {}, {}};
  WG_TRY(journal.OpenToAppend());
  WG_TRY(journal.Write(Encode(journal.read_)));
  return journal;
}

Result<DisputeJournal> DisputeJournal::Open(const fs::path& file) {
  DisputeJournal journal(file);
  WG_ASSIGN(const std::string text, ReadFile(file, 2 * kFileBytesMax));
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  std::size_t whole = 0;
  for (bool head = true; bytes.size() - whole >= 4; head = false) {
    const std::size_t length = WireLength(bytes.subspan(whole).first<4>());
    if (length > bytes.size() - whole - 4) break;
    const auto part = bytes.subspan(whole + 4, length);
    if (head) {
      auto begun = DecodeDisputeEvidence(part);
      if (!begun) return Fail(Blame::kMachine, "{}: {}", file.string(), begun.error().what);
      journal.read_ = std::move(*begun);
    } else {
      auto entry = WireDecode<DisputeEntry>(part, kFileBytesMax);
      if (!entry) return Fail(Blame::kMachine, "{}: {}", file.string(), entry.error().what);
      journal.read_.entries.push_back(std::move(*entry));
    }
    whole += 4 + length;
  }
  if (whole == 0) return Fail(Blame::kMachine, "{} is empty", file.string());
  std::error_code error;
  fs::resize_file(file, whole, error);
  if (error) return Fail(Blame::kMachine, "{}: {}", file.string(), error.message());
  WG_TRY(journal.OpenToAppend());
  return journal;
}

Status DisputeJournal::OpenToAppend() {
  file_.reset(std::fopen(path_.c_str(), "a"));
  if (file_ != nullptr) return {};
  return Fail(Blame::kMachine, "cannot write {}: {}", path_.string(), std::strerror(errno));
}

Status DisputeJournal::Write(const Bytes& bytes) {
  std::array<std::uint8_t, 4> length{};
  for (int i = 0; i < 4; ++i) length[i] = static_cast<std::uint8_t>(bytes.size() >> (8 * i));
  std::FILE* file = file_.get();
  if (std::fwrite(length.data(), 1, 4, file) == 4 &&
      std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0)
    return {};
  return Fail(Blame::kMachine, "cannot write {}: {}", path_.string(), std::strerror(errno));
}

Status DisputeJournal::Append(const DisputeEntry& entry) {
  return Write(WireEncode(entry, kFileBytesMax));
}

Result<fs::path> DisputeJournal::Finish(const DisputeEvidence& evidence) {
  fs::path to = path_;
  to.replace_extension(kDisputeExtension);
  std::string content(kDisputeFileMagic);
  const Bytes bytes = Encode(evidence);
  content.append(bytes.begin(), bytes.end());
  WG_TRY(WriteFileAtomic(to, content));
  file_.reset();
  std::error_code ignored;
  fs::remove(path_, ignored);
  return to;
}

bool IsDisputeFile(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= kDisputeFileMagic.size() &&
         std::equal(kDisputeFileMagic.begin(), kDisputeFileMagic.end(), bytes.begin());
}

Result<DisputeEvidence> DecodeDisputeFile(std::span<const std::uint8_t> bytes) {
  if (!IsDisputeFile(bytes)) return Fail(Blame::kPeer, "no evidence of a dispute");
  return DecodeDisputeEvidence(bytes.subspan(kDisputeFileMagic.size()));
}

Result<DisputeEvidence> ReadDisputeFile(const fs::path& file) {
  WG_ASSIGN(const std::string text, ReadFile(file, kFileBytesMax));
  return DecodeDisputeFile({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace waggle
