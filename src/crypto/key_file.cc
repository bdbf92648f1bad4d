#include "crypto/key_file.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/files.h"

namespace waggle {
namespace {

constexpr std::string_view kFirstLine = "waggle-key 1";
constexpr std::size_t kFileBytesMax = 4096;
constexpr unsigned kOthers = 077;  // any permission for anybody but the owner
constexpr std::size_t kBoxBytes = crypto_secretbox_MACBYTES + crypto_sign_SEEDBYTES;

using Salt = std::array<std::uint8_t, crypto_pwhash_SALTBYTES>;
using Nonce = std::array<std::uint8_t, crypto_secretbox_NONCEBYTES>;
using Box = std::array<std::uint8_t, kBoxBytes>;

struct Sealed {
  SealingCost cost;
  Salt salt{};
  Nonce nonce{};
  Box box{};
};

// Either the seed itself or what hides it.
struct KeyFile {
  NodeId id;
  SecretBytes seed;
  std::optional<Sealed> sealed;
};

void Append(SecretText& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
}
void AppendHex(SecretText& out, std::span<const std::uint8_t> bytes) {
  const std::size_t begin = out.size();
  out.resize(begin + bytes.size() * 2 + 1);  // sodium writes a terminator
  sodium_bin2hex(out.data() + begin, bytes.size() * 2 + 1, bytes.data(), bytes.size());
  out.pop_back();
}

Result<SecretBytes> SealingKey(std::string_view passphrase, const SealingCost& cost,
                               const Salt& salt) {
  StartSodium();
  SecretBytes key(crypto_secretbox_KEYBYTES);
  const int failed =
      crypto_pwhash(key.data(), key.size(), passphrase.data(), passphrase.size(), salt.data(),
                    cost.passes, std::size_t{cost.memory_kib} << 10, crypto_pwhash_ALG_ARGON2ID13);
  if (failed != 0)
    return Fail(Blame::kMachine, "not enough memory for the passphrase's {} MiB",
                cost.memory_kib >> 10);
  return key;
}

Result<Sealed> Seal(const KeyPair& key, std::string_view passphrase, const SealingCost& cost) {
  Check(cost.passes >= 1 && cost.passes <= kSealingCostMax.passes, "passes within the limit");
  Check(cost.memory_kib >= 8 && cost.memory_kib <= kSealingCostMax.memory_kib,
        "memory within the limit");
  Sealed sealed{.cost = cost};
  randombytes_buf(sealed.salt.data(), sealed.salt.size());
  randombytes_buf(sealed.nonce.data(), sealed.nonce.size());
  WG_ASSIGN(const SecretBytes under, SealingKey(passphrase, cost, sealed.salt));
  crypto_secretbox_easy(sealed.box.data(), key.seed().data(), key.seed().size(),
                        sealed.nonce.data(), under.data());
  return sealed;
}

// "name=" and then hex or a number, up to a space or the end.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}

  std::optional<std::string_view> After(std::string_view head) {
    if (!rest_.starts_with(head)) return std::nullopt;
    rest_.remove_prefix(head.size());
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end < rest_.size() ? end + 1 : end);
    return word;
  }
  bool Number(std::string_view head, std::uint32_t& value) {
    const auto word = After(head);
    if (!word) return false;
    const auto [end, error] = std::from_chars(word->data(), word->data() + word->size(), value);
    return error == std::errc{} && end == word->data() + word->size();
  }
  bool Hex(std::string_view head, std::span<std::uint8_t> bytes) {
    const auto word = After(head);
    if (!word || word->size() != bytes.size() * 2) return false;
    const char* end = nullptr;
    const int failed = sodium_hex2bin(bytes.data(), bytes.size(), word->data(), word->size(),
                                      nullptr, nullptr, &end);
    return failed == 0 && end == word->data() + word->size();
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::string_view TakeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return {};  // every line is ended, or the file is cut
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

// Errors name the line, never quote it.
Result<KeyFile> Parse(std::string_view text) {
  const std::string_view first = TakeLine(text), second = TakeLine(text), third = TakeLine(text);
  if (first != kFirstLine) {
    if (first.starts_with("waggle-key "))
      return Fail(Blame::kOperator, "it is of a newer version: update waggle");
    return Fail(Blame::kOperator, "it does not begin with '{}'", kFirstLine);
  }
  KeyFile file;
  Words address(second);
  const auto word = address.After("address ");
  if (!word || !address.done()) return Fail(Blame::kOperator, "line 2: the address is missing");
  WG_ASSIGN(file.id, ParseNodeId(*word));
  file.seed.resize(crypto_sign_SEEDBYTES);
  Words plain(third);
  if (!third.starts_with("seed ")) {
    Words words(third);
    Sealed& sealed = file.sealed.emplace();
    const bool read = words.Number("sealed ops=", sealed.cost.passes) &&
                      words.Number("memory_kib=", sealed.cost.memory_kib) &&
                      words.Hex("salt=", sealed.salt) && words.Hex("nonce=", sealed.nonce) &&
                      words.Hex("box=", sealed.box) && words.done();
    if (!read) return Fail(Blame::kOperator, "line 3: neither a seed nor a sealed one");
    if (sealed.cost.passes < 1 || sealed.cost.passes > kSealingCostMax.passes ||
        sealed.cost.memory_kib < 8 || sealed.cost.memory_kib > kSealingCostMax.memory_kib)
      return Fail(Blame::kOperator, "line 3: the cost of the passphrase is outside the limits");
  } else if (!plain.Hex("seed ", file.seed) || !plain.done()) {
    return Fail(Blame::kOperator, "line 3: the seed is not 64 hexadecimal digits");
  }
  if (!text.empty()) return Fail(Blame::kOperator, "there is more after line 3");
  return file;
}

// The file's text, straight into locked memory. Permissions are asked of the opened file, so they
// are those of what is read.
Result<SecretText> ReadPrivate(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT)
      return Fail(Blame::kOperator, "{} does not exist: `waggle key create` makes one",
                  path.string());
    return Fail(Blame::kOperator, "cannot open {}: {}", path.string(), std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return Fail(Blame::kMachine, "cannot stat {}: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return Fail(Blame::kOperator, "{} is not a regular file", path.string());
  if ((info.st_mode & kOthers) != 0) {
    return Fail(Blame::kOperator,
                "{} can be read or written by others (mode {:03o}): `chmod 600 {}`, and make a new "
                "key if somebody may have seen it",
                path.string(), info.st_mode & 0777, path.string());
  }
  if (info.st_size < 0 || static_cast<std::size_t>(info.st_size) > kFileBytesMax)
    return Fail(Blame::kOperator, "{} is not a key file: {} bytes", path.string(), info.st_size);
  SecretText text(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return Fail(Blame::kMachine, "cannot read {}: {}", path.string(), std::strerror(errno));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

Result<KeyFile> Open(const std::filesystem::path& path) {
  WG_ASSIGN(const SecretText text, ReadPrivate(path));
  auto file = Parse(View(text));
  if (!file) return Fail(Blame::kOperator, "{}: {}", path.string(), file.error().what);
  return file;
}

}  // namespace

Status WriteKeyFile(const std::filesystem::path& path, const KeyPair& key,
                    const KeyFileOptions& options) {
  SecretText text;
  text.reserve(1024);
  Append(text, fmt::format("{}\naddress {}\n", kFirstLine, ToText(key.id())));
  if (options.passphrase.empty()) {
    Append(text, "seed ");
    AppendHex(text, key.seed());
  } else {
    WG_ASSIGN(const Sealed sealed, Seal(key, options.passphrase, options.cost));
    Append(text,
           fmt::format("sealed ops={} memory_kib={}", sealed.cost.passes, sealed.cost.memory_kib));
    Append(text, " salt=");
    AppendHex(text, sealed.salt);
    Append(text, " nonce=");
    AppendHex(text, sealed.nonce);
    Append(text, " box=");
    AppendHex(text, sealed.box);
  }
  text.push_back('\n');
  return WriteFileAtomic(path, View(text), {.mode = 0600, .replace = options.replace});
}

Result<KeyFileInfo> ReadKeyFileInfo(const std::filesystem::path& path) {
  WG_ASSIGN(const KeyFile file, Open(path));
  return KeyFileInfo{file.id, file.sealed.has_value()};
}

Result<KeyPair> ReadKeyFile(const std::filesystem::path& path, std::string_view passphrase) {
  WG_ASSIGN(KeyFile file, Open(path));
  if (file.sealed) {
    if (passphrase.empty()) return Fail(Blame::kOperator, "{} needs its passphrase", path.string());
    const Sealed& sealed = *file.sealed;
    WG_ASSIGN(const SecretBytes under, SealingKey(passphrase, sealed.cost, sealed.salt));
    const int failed = crypto_secretbox_open_easy(file.seed.data(), sealed.box.data(), kBoxBytes,
                                                  sealed.nonce.data(), under.data());
    if (failed != 0)
      return Fail(Blame::kOperator, "{}: this is not its passphrase, or the file was changed",
                  path.string());
  }
  KeyPair key = KeyPair::FromSeed(std::span(file.seed).first<crypto_sign_SEEDBYTES>());
  if (key.id() != file.id) {
    return Fail(Blame::kOperator, "{}: its address is not that of its secret: the file was changed",
                path.string());
  }
  return key;
}

}  // namespace waggle
