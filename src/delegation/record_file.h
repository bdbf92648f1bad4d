// What a party committed to, in its folder: one record of one size after the other. A record that
// is there already (the run was gone on with from further back) must come out the same again.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/wire.h"

namespace waggle {

// The bytes alone. One caller.
class RecordFile {
 public:
  // Opens or creates; a torn last record is forgotten. Blame::kMachine: it cannot be written.
  static Result<RecordFile> Open(const std::filesystem::path& path, std::size_t record_bytes);
  // The whole records of a file; none if there is no file.
  static Result<std::vector<Bytes>> Read(const std::filesystem::path& path,
                                         std::size_t record_bytes);

  std::uint64_t count() const { return records_.size(); }
  const std::vector<Bytes>& records() const { return records_; }
  // what: "step", for words. Blame::kMachine: another record than the one that is there, because
  // what is committed to is a function of what goes in; or the disk.
  // REQUIRES index <= count().
  Status Put(std::uint64_t index, Bytes record, const char* what);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::size_t record_bytes_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<Bytes> records_;
};

}  // namespace waggle
