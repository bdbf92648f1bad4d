#include "crypto/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/files.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr SealingCost kCheap{.passes = 1, .memory_kib = 8};

class KeyFileTest : public ::testing::Test {
 protected:
  KeyFileTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-key-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "node.key";
  }
  ~KeyFileTest() override { fs::remove_all(folder_); }

  std::string Content() const { return ReadFile(path_, 4096).value(); }
  // In place, without a sync: the tests below do it a thousand times.
  void Put(const std::string& content) {
    std::ofstream(path_, std::ios::trunc) << content;
    ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  }
  std::string WhyNot(std::string_view passphrase = "") const {
    const auto key = ReadKeyFile(path_, passphrase);
    if (key) return "accepted";
    EXPECT_EQ(key.error().blame, Blame::kOperator);
    return key.error().what;
  }

  fs::path folder_, path_;
  const KeyPair key_ = KeyPair::Generate();
};

TEST_F(KeyFileTest, ReadsBackForThisUserOnly) {
  const ::mode_t before = ::umask(0);  // the widest there is: the file stays narrow
  ASSERT_TRUE(WriteKeyFile(path_, key_, {}));
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(ReadKeyFile(path_, "").value().id(), key_.id());
  EXPECT_EQ(ReadKeyFileInfo(path_).value().id, key_.id());
  EXPECT_FALSE(ReadKeyFileInfo(path_).value().sealed);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // nothing is left beside it
}

TEST_F(KeyFileTest, AFileThatOthersCanReadIsRefusedWithTheRepair) {
  ASSERT_TRUE(WriteKeyFile(path_, key_, {}));
  for (const ::mode_t mode : {0640, 0604, 0660, 0602, 0610, 0601}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_NE(WhyNot().find("chmod 600 " + path_.string()), std::string::npos) << mode;
  }
  ASSERT_EQ(::chmod(path_.c_str(), 0400), 0);
  EXPECT_EQ(WhyNot(), "accepted");
}

TEST_F(KeyFileTest, AnExistingKeyStays) {
  ASSERT_TRUE(WriteKeyFile(path_, key_, {}));
  const KeyPair other = KeyPair::Generate();
  const Status refused = WriteKeyFile(path_, other, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
  EXPECT_NE(refused.error().what.find("exists already"), std::string::npos);
  EXPECT_EQ(ReadKeyFile(path_, "").value().id(), key_.id());
  ASSERT_TRUE(WriteKeyFile(path_, other, {.replace = true}));
  EXPECT_EQ(ReadKeyFile(path_, "").value().id(), other.id());
}

TEST_F(KeyFileTest, APassphraseSeals) {
  ASSERT_TRUE(WriteKeyFile(path_, key_, {.passphrase = "correct horse", .cost = kCheap}));
  EXPECT_EQ(Content().find("seed"), std::string::npos);
  EXPECT_TRUE(ReadKeyFileInfo(path_).value().sealed);
  EXPECT_EQ(ReadKeyFileInfo(path_).value().id, key_.id());
  EXPECT_EQ(ReadKeyFile(path_, "correct horse").value().id(), key_.id());
  EXPECT_NE(WhyNot("").find("needs its passphrase"), std::string::npos);
  EXPECT_NE(WhyNot("correct horsf").find("not its passphrase"), std::string::npos);
  std::string other = Content();  // the same key and passphrase never give the same file
  ASSERT_TRUE(
      WriteKeyFile(path_, key_, {.passphrase = "correct horse", .cost = kCheap, .replace = true}));
  EXPECT_NE(Content(), other);
}

TEST_F(KeyFileTest, EveryCutAndEveryFlipIsRefused) {
  for (const std::string_view passphrase : {"", "horse"}) {
    ASSERT_TRUE(
        WriteKeyFile(path_, key_, {.passphrase = passphrase, .cost = kCheap, .replace = true}));
    const std::string good = Content();
    for (std::size_t n = 0; n < good.size(); ++n) {
      Put(good.substr(0, n));
      ASSERT_NE(WhyNot(passphrase), "accepted") << n;
    }
    for (std::size_t i = 0; i < good.size(); ++i) {
      std::string changed = good;
      changed[i] ^= 1;
      Put(changed);
      ASSERT_NE(WhyNot(passphrase), "accepted") << i << ": " << changed;
    }
    Put(good + "\n");
    EXPECT_NE(WhyNot(passphrase).find("more after line 3"), std::string::npos);
  }
}

TEST_F(KeyFileTest, SaysWhatIsWrong) {
  EXPECT_NE(WhyNot().find("waggle key create"), std::string::npos);
  ASSERT_TRUE(WriteKeyFile(path_, key_, {}));
  const std::string good = Content();
  Put("waggle-key 2\n" + good.substr(13));
  EXPECT_NE(WhyNot().find("update waggle"), std::string::npos);
  Put(std::string(5000, 'x'));
  EXPECT_NE(WhyNot().find("5000 bytes"), std::string::npos);
  Put("waggle-key 1\naddress " + ToText(KeyPair::Generate().id()) + "\n" +
      good.substr(good.find("seed ")));
  EXPECT_NE(WhyNot().find("not that of its secret"), std::string::npos);
  Put(good.substr(0, good.find("seed ")) +
      "sealed ops=1 memory_kib=4294967295 salt=" + std::string(32, '0') +
      " nonce=" + std::string(48, '0') + " box=" + std::string(96, '0') + "\n");
  EXPECT_NE(WhyNot("x").find("outside the limits"), std::string::npos);
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_NE(WhyNot().find("not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace waggle
