// waggle key: who this node is. Makes, shows, backs up and restores the key that signs for it.
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/descriptor.h"
#include "cli/command.h"
#include "cli/node.h"
#include "crypto/key_file.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTypedMax = 1024;  // a passphrase or a backup line

struct KeyArguments {
  std::string action, file, passphrase_file;
  bool passphrase = false, force = false;
};

}  // namespace

fs::path DefaultKeyFile() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0')
    return fs::path(config) / "waggle" / "node.key";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / ".config" / "waggle" / "node.key";
  return "node.key";
}

namespace {

// The terminal does not show what is typed while this lives.
class Silence {
 public:
  explicit Silence(int fd) : fd_(fd), changed_(::tcgetattr(fd, &before_) == 0) {
    if (!changed_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(fd_, TCSAFLUSH, &quiet);
  }
  ~Silence() {
    if (!changed_) return;
    ::tcsetattr(fd_, TCSAFLUSH, &before_);
    fmt::print(stderr, "\n");
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  const int fd_;
  termios before_{};
  const bool changed_;
};

// Up to the end of the line, straight into memory for secrets.
Result<SecretText> ReadSecretLine(int fd, const std::string& what) {
  SecretText line;
  line.reserve(kTypedMax);
  for (;;) {
    char c = 0;
    const ssize_t got = ::read(fd, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Fail(Blame::kMachine, "cannot read {}: {}", what, std::strerror(errno));
    if (got == 0 || c == '\n') break;
    if (line.size() == kTypedMax)
      return Fail(Blame::kOperator, "{}: longer than {} characters", what, kTypedMax);
    line.push_back(c);
  }
  while (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

Result<SecretText> Ask(const char* question) {
  if (::isatty(STDIN_FILENO) == 0)
    return Fail(Blame::kOperator, "no terminal to ask for the passphrase: use --passphrase-file");
  fmt::print(stderr, "{}: ", question);
  const Silence silence(STDIN_FILENO);
  return ReadSecretLine(STDIN_FILENO, "the passphrase");
}

Result<SecretText> Passphrase(const KeyArguments& arguments, bool is_new) {
  if (!arguments.passphrase_file.empty()) {
    const Descriptor file(::open(arguments.passphrase_file.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0)
      return Fail(Blame::kOperator, "cannot open {}: {}", arguments.passphrase_file,
                  std::strerror(errno));
    WG_ASSIGN(SecretText text, ReadSecretLine(file.get(), arguments.passphrase_file));
    if (text.empty())
      return Fail(Blame::kOperator, "{}: its first line is empty", arguments.passphrase_file);
    return text;
  }
  WG_ASSIGN(SecretText text, Ask(is_new ? "New passphrase" : "Passphrase"));
  if (text.empty()) return Fail(Blame::kOperator, "an empty passphrase protects nothing");
  if (is_new) {
    WG_ASSIGN(const SecretText again, Ask("Once more"));
    if (again != text) return Fail(Blame::kOperator, "the two passphrases differ");
  }
  return text;
}

Status Store(const KeyArguments& arguments, const KeyPair& key, std::FILE* to = stdout) {
  const fs::path path = arguments.file;
  SecretText passphrase;
  if (arguments.passphrase || !arguments.passphrase_file.empty()) {
    WG_ASSIGN(passphrase, Passphrase(arguments, /*is_new=*/true));
  }
  if (path.has_parent_path()) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error)
      return Fail(Blame::kOperator, "cannot create {}: {}", path.parent_path().string(),
                  error.message());
  }
  const KeyFileOptions options{.passphrase = View(passphrase), .replace = arguments.force};
  if (Status written = WriteKeyFile(path, key, options); !written) {
    if (written.error().what.find("exists already") == std::string::npos) return written;
    return Fail(Blame::kOperator,
                "{} exists already, and is kept: `waggle key show` tells whose it is, --force "
                "replaces it for ever, --file names another place",
                path.string());
  }
  fmt::print(to, "address  {}\nfile     {}{}\n", ToText(key.id()), path.string(),
             passphrase.empty() ? "" : " (sealed with a passphrase)");
  return {};
}

Result<KeyPair> Load(const KeyArguments& arguments) {
  WG_ASSIGN(const KeyFileInfo info, ReadKeyFileInfo(arguments.file));
  SecretText passphrase;
  if (info.sealed) {
    WG_ASSIGN(passphrase, Passphrase(arguments, /*is_new=*/false));
  }
  return ReadKeyFile(arguments.file, View(passphrase));
}

Status Show(const KeyArguments& arguments) {
  WG_ASSIGN(const KeyFileInfo info, ReadKeyFileInfo(arguments.file));
  fmt::print("address  {}\nfile     {}{}\n", ToText(info.id), arguments.file,
             info.sealed ? " (sealed with a passphrase)" : "");
  return {};
}

Status Backup(const KeyArguments& arguments) {
  WG_ASSIGN(const KeyPair key, Load(arguments));
  fmt::print(stderr,
             "Write this line on paper. Whoever has it is {}.\nBring it back with `waggle key "
             "restore`; a mistyped character is noticed.\n",
             ToText(key.id()));
  const SecretText line = BackupLine(key);
  fmt::print("{}\n", View(line));
  return {};
}

Status Restore(const KeyArguments& arguments) {
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) fmt::print(stderr, "The backup line (wglkey1 ...): ");
  WG_ASSIGN(const SecretText line, ReadSecretLine(STDIN_FILENO, "the backup line"));
  WG_ASSIGN(const KeyPair key, FromBackupLine(View(line)));
  return Store(arguments, key);
}

}  // namespace

Result<KeyPair> NodeKey(const std::string& file, const std::string& passphrase_file) {
  KeyArguments arguments;
  arguments.file = file;
  arguments.passphrase_file = passphrase_file;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    fmt::print(stderr, "this node has no key yet; made one (`waggle key backup` saves it)\n");
    WG_TRY(Store(arguments, KeyPair::Generate(), stderr));
  }
  return Load(arguments);
}

Action DefineKey(CLI::App& app) {
  auto arguments = std::make_shared<KeyArguments>();
  arguments->file = DefaultKeyFile().string();
  app.add_option("action", arguments->action, "create, show, backup or restore.")
      ->required()
      ->check(CLI::IsMember({"create", "show", "backup", "restore"}));
  app.add_option("--file", arguments->file,
                 "Key file; without it, node.key in waggle's folder of the user's configuration.");
  app.add_flag("--passphrase", arguments->passphrase,
               "Seal the new file with a passphrase, asked for on the terminal.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the passphrase.");
  app.add_flag("--force", arguments->force, "Replace an existing key file. The old key is gone.");
  return [arguments]() -> Status {
    if (arguments->action == "create") return Store(*arguments, KeyPair::Generate());
    if (arguments->action == "show") return Show(*arguments);
    if (arguments->action == "backup") return Backup(*arguments);
    return Restore(*arguments);
  };
}

}  // namespace waggle
