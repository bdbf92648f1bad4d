#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/descriptor.h"

namespace waggle {
namespace {

tl::unexpected<Error> SystemError(Blame blame, const char* doing,
                                  const std::filesystem::path& path) {
  return Fail(blame, "cannot {} {}: {}", doing, path.string(), std::strerror(errno));
}

Result<std::size_t> RegularFileSize(int fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SystemError(Blame::kMachine, "stat", path);
  if (!S_ISREG(info.st_mode))
    return Fail(Blame::kOperator, "{} is not a regular file", path.string());
  return static_cast<std::size_t>(info.st_size);
}

// A new file with this content, synced. What a crash left under the name goes first: its
// permissions could be wider.
Status WriteWhole(const std::filesystem::path& path, std::string_view content, unsigned mode) {
  ::unlink(path.c_str());
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file.get() < 0) return SystemError(Blame::kMachine, "create", path);
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t put = ::write(file.get(), content.data() + done, content.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return SystemError(Blame::kMachine, "write", path);
    done += static_cast<std::size_t>(put);
  }
  if (::fsync(file.get()) != 0) return SystemError(Blame::kMachine, "sync", path);
  return {};
}

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return SystemError(Blame::kOperator, "open", path);
  WG_ASSIGN(const std::size_t size, RegularFileSize(file.get(), path));
  if (size > bytes_max) {
    return Fail(Blame::kOperator, "{} has {} bytes, the limit is {}", path.string(), size,
                bytes_max);
  }
  std::string content(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), content.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(Blame::kMachine, "read", path);
    if (got == 0) break;  // shortened while we read
    done += static_cast<std::size_t>(got);
  }
  content.resize(done);
  return content;
}

Status WriteFileAtomic(const std::filesystem::path& path, std::string_view content,
                       const WriteOptions& options) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::filesystem::path aside = path;
  aside += ".tmp." + std::to_string(::getpid());
  Status written = WriteWhole(aside, content, options.mode);
  if (written && !options.replace) {
    // link() fails where the name is taken, and nothing can come in between.
    if (::link(aside.c_str(), path.c_str()) != 0) {
      written = errno == EEXIST ? Fail(Blame::kOperator, "{} exists already", path.string())
                                : SystemError(Blame::kMachine, "create", path);
    }
    ::unlink(aside.c_str());
  } else if (written && ::rename(aside.c_str(), path.c_str()) != 0) {
    written = SystemError(Blame::kMachine, "rename", aside);
  }
  if (!written) {
    ::unlink(aside.c_str());
    return written;
  }
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0 && ::fsync(directory.get()) != 0) {
    return SystemError(Blame::kMachine, "sync", folder);
  }
  return {};
}

Result<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return SystemError(Blame::kOperator, "open", path);
  WG_ASSIGN(const std::size_t size, RegularFileSize(file.get(), path));
  MappedFile map;
  if (size == 0) return map;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) return SystemError(Blame::kMachine, "map", path);
  map.data_ = static_cast<const std::byte*>(data);
  map.size_ = size;
  return map;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace waggle
