// Files: whole reads with a limit, read-only maps, and writes that are either complete or absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace waggle {

// The whole file; refuses one larger than bytes_max. Missing or unreadable: Blame::kOperator.
Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t bytes_max);

struct WriteOptions {
  unsigned mode = 0644;  // permissions, before the umask; never wider, not even for a moment
  bool replace = true;   // false: an existing file stays as it is, and is Blame::kOperator
};

// Writes aside, syncs file and folder, renames. After a crash the old content or the new is there,
// never a mix.
Status WriteFileAtomic(const std::filesystem::path& path, std::string_view content,
                       const WriteOptions& options = {});

// Read-only memory map of a whole file. Movable, unmaps on destruction.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace waggle
