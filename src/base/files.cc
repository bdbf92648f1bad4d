#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace waggle {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

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

Status WriteFileAtomic(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::filesystem::path aside = path;
  aside += ".tmp." + std::to_string(::getpid());
  {
    const Descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) return SystemError(Blame::kMachine, "create", aside);
    std::size_t done = 0;
    while (done < content.size()) {
      const ssize_t put = ::write(file.get(), content.data() + done, content.size() - done);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        auto error = SystemError(Blame::kMachine, "write", aside);
        ::unlink(aside.c_str());
        return error;
      }
      done += static_cast<std::size_t>(put);
    }
    if (::fsync(file.get()) != 0) return SystemError(Blame::kMachine, "sync", aside);
  }
  if (::rename(aside.c_str(), path.c_str()) != 0)
    return SystemError(Blame::kMachine, "rename", aside);
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
