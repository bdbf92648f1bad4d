#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace waggle {
namespace {

namespace fs = std::filesystem;

class FilesTest : public ::testing::Test {
 protected:
  FilesTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~FilesTest() override { fs::remove_all(folder_); }
  std::size_t Entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  fs::path folder_;
};

TEST_F(FilesTest, WritesReadBackWithEveryByte) {
  const fs::path file = folder_ / "a";
  std::string content;
  for (int i = 0; i < 70000; ++i) content += static_cast<char>(i);
  for (const std::string& text : {std::string(), content, std::string("short")}) {
    ASSERT_TRUE(WriteFileAtomic(file, text));
    EXPECT_EQ(ReadFile(file, 70000).value(), text);
    const auto map = MappedFile::Open(file);
    ASSERT_TRUE(map);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(map->bytes().data()), map->bytes().size()),
              text);
  }
  EXPECT_EQ(Entries(), 1u) << "nothing is left beside it";
}

// Runs in a child that may write at most 100 bytes to a file: a disk that is full in mid-write.
int WriteWithFullDisk(const fs::path& file) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100, 100};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 9;
  const Status status = WriteFileAtomic(file, std::string(1000, 'n'));
  return status ? 0 : status.error().blame == Blame::kMachine ? 7 : 8;
}

TEST_F(FilesTest, AFailedWriteLeavesTheOldContentAlone) {
  const fs::path file = folder_ / "a";
  ASSERT_TRUE(WriteFileAtomic(file, "old"));
  EXPECT_EXIT(::_exit(WriteWithFullDisk(file)), ::testing::ExitedWithCode(7), "");
  EXPECT_EQ(ReadFile(file, 100).value(), "old");
  EXPECT_EQ(Entries(), 1u) << "no half-written file stays";
}

TEST_F(FilesTest, AMapOutlivesTheReplacementOfItsFile) {
  const fs::path file = folder_ / "a";
  ASSERT_TRUE(WriteFileAtomic(file, "old"));
  auto map = MappedFile::Open(file);
  ASSERT_TRUE(map);
  ASSERT_TRUE(WriteFileAtomic(file, "new content"));
  MappedFile moved = std::move(*map);
  EXPECT_EQ(static_cast<char>(moved.bytes()[0]), 'o');
  EXPECT_EQ(moved.bytes().size(), 3u);
}

TEST_F(FilesTest, RefusalsNameThePathAndBlameWhoCanAct) {
  const fs::path file = folder_ / "a";
  ASSERT_TRUE(WriteFileAtomic(file, "12345"));
  EXPECT_TRUE(ReadFile(file, 5));
  for (const auto& result :
       {ReadFile(file, 4), ReadFile(folder_ / "missing", 4), ReadFile(folder_, 4)}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().blame, Blame::kOperator);
    EXPECT_NE(result.error().what.find(folder_.string()), std::string::npos);
  }
  EXPECT_FALSE(MappedFile::Open(folder_ / "missing"));
  const Status nowhere = WriteFileAtomic(folder_ / "no" / "b", "x");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().blame, Blame::kMachine);
}

TEST_F(FilesTest, PermissionsAreNarrowFromTheStart) {
  const fs::path file = folder_ / "secret";
  // A leftover of a crash with wide permissions, under the very name that is written aside.
  std::ofstream(file.string() + ".tmp." + std::to_string(::getpid())) << "old";
  ASSERT_TRUE(WriteFileAtomic(file, "new", {.mode = 0600}));
  EXPECT_EQ(fs::status(file).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(FilesTest, AnExistingFileIsKeptOnRequest) {
  const fs::path file = folder_ / "a";
  ASSERT_TRUE(WriteFileAtomic(file, "first", {.replace = false}));
  const Status refused = WriteFileAtomic(file, "second", {.replace = false});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
  EXPECT_EQ(ReadFile(file, 100).value(), "first");
  EXPECT_EQ(Entries(), 1u);
}

}  // namespace
}  // namespace waggle
