// What a referee keeps while a dispute goes on, so that it can be gone on with after a crash: the
// terms, then every word as it came. Finished, it becomes an evidence file.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include "proofs/dispute/referee.h"

namespace waggle {

class DisputeJournal {
 public:
  // A new one for these terms, in `folder`. Blame::kMachine.
  static Result<DisputeJournal> Begin(const std::filesystem::path& folder,
                                      const DisputeTerms& terms, std::int64_t opened_ns);
  // What is there of a file of a journal; a torn last entry is forgotten, and cut off for Append.
  // The verdict stands for nothing. Blame::kMachine: damaged.
  static Result<DisputeJournal> Open(const std::filesystem::path& file);

  const DisputeEvidence& read() const { return read_; }  // terms, time, entries that were there
  Status Append(const DisputeEntry& entry);
  // Writes the evidence beside it and removes the journal. The path of the evidence.
  Result<std::filesystem::path> Finish(const DisputeEvidence& evidence);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  DisputeJournal(std::filesystem::path path) : path_(std::move(path)) {}
  Status OpenToAppend();
  Status Write(const Bytes& bytes);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  DisputeEvidence read_;
};

// Evidence and journals of `folder`, by name.
inline constexpr std::string_view kDisputeExtension = ".wgldisp";
inline constexpr std::string_view kJournalExtension = ".journal";
Result<DisputeEvidence> ReadDisputeFile(const std::filesystem::path& file);
bool IsDisputeFile(std::span<const std::uint8_t> bytes);
Result<DisputeEvidence> DecodeDisputeFile(std::span<const std::uint8_t> bytes);

}  // namespace waggle
