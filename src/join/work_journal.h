// What this node has sent and signed, on disk, so that a node that died still knows its own work
// when the host asks it to sign for it. One process.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>

#include "roles/join_core.h"

namespace waggle {

class WorkJournal {
 public:
  // Opens or creates. A torn last line is forgotten; other damage is Blame::kMachine.
  static Result<std::unique_ptr<WorkJournal>> Open(const std::filesystem::path& path);

  const JournalRead& read() const { return read_; }
  Status Add(const JournalGroup& entry);
  Status Add(const JournalBatch& entry);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  Status Write(const std::string& line);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  JournalRead read_;
};

}  // namespace waggle
