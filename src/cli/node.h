// What the commands that talk to other machines share.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "crypto/identity.h"

namespace waggle {

// node.key in waggle's folder of the user's configuration.
std::filesystem::path DefaultKeyFile();

// The key in `file`, which is made if it does not exist. A sealed one asks for its passphrase.
Result<KeyPair> NodeKey(const std::string& file, const std::string& passphrase_file);

// Whether the user or the system has asked this process to end (SIGINT, SIGTERM), since the first
// call. A second signal ends it at once.
bool EndWanted();

}  // namespace waggle
