#include "net/certificate.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/files.h"

namespace waggle {
namespace {

constexpr std::size_t kPemBytesMax = std::size_t{64} << 10;

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;

tl::unexpected<Error> OpenSslError(Blame blame, const char* doing) {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0)
    ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return Fail(blame, "cannot {}: {}", doing, text);
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

BioPtr ReadOnly(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Result<Pin> PinOf(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return OpenSslError(Blame::kPeer, "encode the public key of a certificate");
  const Pin pin = Sha256({der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return pin;
}

// The fields that X.509 wants and nobody here reads. No clock: valid from before this software to
// the end of time (RFC 5280, 4.1.2.5). The serial number is random, because TLS libraries take two
// certificates of one issuer and one serial for the same.
bool FillIn(X509* certificate, EVP_PKEY* key) {
  std::uint64_t serial = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) return false;
  X509_NAME* name = X509_get_subject_name(certificate);
  return X509_set_version(certificate, 2) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) == 1 &&
         ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20200101000000Z") == 1 &&
         ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") == 1 &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>("waggle node"), -1, -1,
                                    0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

// Never overwrites: a key that is gone cannot be made again.
Status WriteNew(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0)
    return Fail(Blame::kOperator, "cannot create {}: {}", path.string(), std::strerror(errno));
  std::size_t done = 0;
  bool good = true;
  while (good && done < content.size()) {
    const ssize_t put = ::write(fd, content.data() + done, content.size() - done);
    if (put > 0) done += static_cast<std::size_t>(put);
    good = put > 0 || (put < 0 && errno == EINTR);
  }
  good = good && ::fsync(fd) == 0;
  const int why = errno;
  ::close(fd);
  if (good) return {};
  ::unlink(path.c_str());
  return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(why));
}

Status CheckPrivate(const std::filesystem::path& key_file) {
  struct stat info {};
  if (::stat(key_file.c_str(), &info) != 0)
    return Fail(Blame::kOperator, "cannot stat {}: {}", key_file.string(), std::strerror(errno));
  if ((info.st_mode & 077) != 0) {
    return Fail(Blame::kOperator,
                "{} is open to others (mode {:o}): chmod 600, or delete the pair if the key may be "
                "known",
                key_file.string(), info.st_mode & 0777);
  }
  return {};
}

Result<Certificate> Load(const std::filesystem::path& certificate_file,
                         const std::filesystem::path& key_file) {
  WG_TRY(CheckPrivate(key_file));
  Certificate loaded;
  WG_ASSIGN(loaded.certificate_pem, ReadFile(certificate_file, kPemBytesMax));
  WG_ASSIGN(loaded.key_pem, ReadFile(key_file, kPemBytesMax));
  const X509Ptr certificate(
      PEM_read_bio_X509(ReadOnly(loaded.certificate_pem).get(), nullptr, nullptr, nullptr));
  if (!certificate) return OpenSslError(Blame::kOperator, "read the certificate file");
  // An empty pass phrase instead of a question on the terminal.
  char nothing[] = "";
  const KeyPtr key(
      PEM_read_bio_PrivateKey(ReadOnly(loaded.key_pem).get(), nullptr, nullptr, nothing));
  if (!key) return OpenSslError(Blame::kOperator, "read the key file");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return Fail(Blame::kOperator, "{} is not the key of {}", key_file.string(),
                certificate_file.string());
  }
  WG_ASSIGN(loaded.pin, PinOf(certificate.get()));
  return loaded;
}

}  // namespace

Result<Certificate> MakeCertificate() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslError(Blame::kMachine, "make a P-256 key");
  const X509Ptr certificate(X509_new());
  if (!certificate || !FillIn(certificate.get(), key.get()))
    return OpenSslError(Blame::kMachine, "make a certificate");
  const BioPtr certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (!certificate_text || !key_text ||
      PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return OpenSslError(Blame::kMachine, "write a certificate");
  }
  Certificate made{.certificate_pem = TakeText(certificate_text.get()),
                   .key_pem = TakeText(key_text.get())};
  WG_ASSIGN(made.pin, PinOf(certificate.get()));
  return made;
}

Result<Certificate> LoadOrMakeCertificate(const std::filesystem::path& certificate_file,
                                          const std::filesystem::path& key_file) {
  std::error_code ignored;
  const bool has_certificate = std::filesystem::exists(certificate_file, ignored);
  const bool has_key = std::filesystem::exists(key_file, ignored);
  if (has_certificate && has_key) return Load(certificate_file, key_file);
  if (has_certificate != has_key) {
    const auto& there = has_key ? key_file : certificate_file;
    const auto& missing = has_key ? certificate_file : key_file;
    return Fail(Blame::kOperator, "{} is there but {} is not: restore it, or delete the other",
                there.string(), missing.string());
  }
  WG_ASSIGN(Certificate made, MakeCertificate());
  WG_TRY(WriteNew(key_file, made.key_pem, 0600));
  WG_TRY(WriteNew(certificate_file, made.certificate_pem, 0644));
  return made;
}

Result<Pin> PinOfCertificate(std::string_view pem) {
  if (pem.size() > kPemBytesMax)
    return Fail(Blame::kPeer, "a certificate of {} bytes, the limit is {}", pem.size(),
                kPemBytesMax);
  const X509Ptr certificate(PEM_read_bio_X509(ReadOnly(pem).get(), nullptr, nullptr, nullptr));
  if (!certificate) return OpenSslError(Blame::kPeer, "read a peer's certificate");
  return PinOf(certificate.get());
}

}  // namespace waggle
