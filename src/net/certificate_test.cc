#include "net/certificate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/philox.h"
#include "net/address.h"

namespace waggle {
namespace {

class CertificateFiles : public testing::Test {
 protected:
  CertificateFiles() { std::filesystem::create_directory(folder_); }
  ~CertificateFiles() override { std::filesystem::remove_all(folder_); }
  Result<Certificate> Load() { return LoadOrMakeCertificate(certificate_, key_); }
  void ExpectRefused(const char* word) {
    const auto loaded = Load();
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().blame, Blame::kOperator);
    EXPECT_NE(loaded.error().what.find(word), std::string::npos) << loaded.error().what;
  }
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("waggle_certificate." + std::to_string(::getpid()));
  const std::filesystem::path certificate_ = folder_ / "node.pem", key_ = folder_ / "node.key";
};

TEST_F(CertificateFiles, IsMadeOnceAndFoundAgain) {
  const Certificate made = Load().value();
  struct stat info {};
  ASSERT_EQ(::stat(key_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const Certificate found = Load().value();
  EXPECT_EQ(found.pin, made.pin);
  EXPECT_EQ(found.key_pem, made.key_pem);
  EXPECT_EQ(PinOfCertificate(found.certificate_pem).value(), made.pin);
  EXPECT_NE(MakeCertificate().value().pin, made.pin);
}

TEST_F(CertificateFiles, AKeyThatOthersCanReadIsRefused) {
  ASSERT_TRUE(Load().has_value());
  for (const mode_t mode : {0640u, 0604u, 0660u, 0666u}) {
    ::chmod(key_.c_str(), mode);
    ExpectRefused("open to others");
  }
  ::chmod(key_.c_str(), 0400);
  EXPECT_TRUE(Load().has_value());
}

TEST_F(CertificateFiles, HalfAPairAndAStrangersKeyAreRefused) {
  ASSERT_TRUE(Load().has_value());
  const std::string other = MakeCertificate().value().certificate_pem;
  ASSERT_TRUE(WriteFileAtomic(certificate_, other).has_value());
  ExpectRefused("is not the key of");
  ASSERT_TRUE(WriteFileAtomic(certificate_, "no certificate").has_value());
  ExpectRefused("certificate");
  std::filesystem::remove(certificate_);
  ExpectRefused("is not");
}

TEST(PinOfCertificate, MutationsAreRefusedOrHaveSomePin) {
  const std::string good = MakeCertificate().value().certificate_pem;
  const Pin pin = PinOfCertificate(good).value();
  EXPECT_EQ(PinOfCertificate("").error().blame, Blame::kPeer);
  EXPECT_FALSE(PinOfCertificate(std::string(100'000, 'A')).has_value());
  Rng rng(/*seed=*/3);
  int same = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    for (std::uint32_t edits = 1 + rng.Below(3); edits > 0; --edits)
      bad[rng.Below(static_cast<std::uint32_t>(bad.size()))] = static_cast<char>(rng.NextU32());
    if (rng.Below(5) == 0) bad.resize(rng.Below(static_cast<std::uint32_t>(bad.size())));
    const auto mutated = PinOfCertificate(bad);
    same += mutated.has_value() && *mutated == pin;
  }
  EXPECT_LT(same, 2000);
}

TEST(Address, HostAndPort) {
  EXPECT_EQ(ParseHostPort("example.org:7100").value().host, "example.org");
  EXPECT_EQ(ParseHostPort("[2001:db8::1]:7100").value().host, "2001:db8::1");
  EXPECT_EQ(ParseHostPort("1.2.3.4:0").value().port, 0);
  for (const char* bad : {"x", ":7100", "x:", "x:-1", "x:65536", "x:1a", "2001:db8::1:7100",
                          "a/b:1", "x y:1", "xds:///x:1"}) {
    EXPECT_FALSE(ParseHostPort(bad).has_value()) << bad;
  }
  EXPECT_FALSE(ParseHostPort(std::string(400, 'x') + ":1").has_value());
}

TEST(Address, PeersOfGrpcHaveTheNamesThatTheGateGives) {
  EXPECT_EQ(PeerTextFromGrpc("ipv4:192.0.2.1:4711"), "192.0.2.1:4711");
  EXPECT_EQ(PeerTextFromGrpc("ipv6:%5B2001:db8::1%5D:4711"), "[2001:db8::1]:4711");
  EXPECT_EQ(PeerTextFromGrpc("ipv6:[2001:db8::1]:4711"), "[2001:db8::1]:4711");
  EXPECT_EQ(PeerTextFromGrpc("ipv6:%5B::ffff:192.0.2.1%5D:4711"), "192.0.2.1:4711");
  EXPECT_EQ(PeerTextFromGrpc("unix:/tmp/x"), "unix:/tmp/x");
}

}  // namespace
}  // namespace waggle
