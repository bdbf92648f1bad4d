#include "join/work_journal.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/files.h"
#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::size_t kBytesMax = std::size_t{1} << 30;

// "g <number in hex> <hash in hex>" or "b ...".
bool Take(std::string_view line, JournalRead& read) {
  if (line.size() < 2 + 1 + 1 + 64 || line[1] != ' ') return false;
  std::uint64_t number = 0;
  const char* end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data() + 2, end, number, 16);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != ' ' || end - parsed.ptr != 65)
    return false;
  const auto raw = FromHex({parsed.ptr + 1, 64});
  if (!raw) return false;
  Hash256 hash{};
  std::memcpy(hash.data(), raw->data(), hash.size());
  auto& into = line[0] == 'g' ? read.groups : read.batches;
  into.insert_or_assign(number, hash);
  return line[0] == 'g' || line[0] == 'b';
}

}  // namespace

Result<std::unique_ptr<WorkJournal>> WorkJournal::Open(const std::filesystem::path& path) {
  auto journal = std::make_unique<WorkJournal>();
  journal->path_ = path;
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::string text;
  if (std::filesystem::exists(path)) {
    WG_ASSIGN(text, ReadFile(path, kBytesMax));
  }
  std::size_t whole = 0;
  for (std::size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1) {
    if (!Take(std::string_view(text).substr(whole, end - whole), journal->read_))
      return Fail(Blame::kMachine, "{} is damaged at byte {}; move it away to begin a new one",
                  path.string(), whole);
  }
  if (whole < text.size()) std::filesystem::resize_file(path, whole, error);
  journal->file_.reset(std::fopen(path.c_str(), "a"));
  if (journal->file_ == nullptr)
    return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(errno));
  return journal;
}

Status WorkJournal::Write(const std::string& line) {
  if (std::fputs(line.c_str(), file_.get()) < 0 || std::fflush(file_.get()) != 0)
    return Fail(Blame::kMachine, "cannot write {}: {}", path_.string(), std::strerror(errno));
  return {};
}

Status WorkJournal::Add(const JournalGroup& entry) {
  return Write(fmt::format("g {:x} {}\n", entry.lease.value, ToHex(entry.group)));
}
Status WorkJournal::Add(const JournalBatch& entry) {
  return Write(fmt::format("b {:x} {}\n", entry.epoch, ToHex(entry.root)));
}

}  // namespace waggle
