// Runs over real sockets in tests: a host with key 1, and nodes with the keys that they are given.
// WAGGLE_SAY=1 in the environment prints what they say.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "base/test_folder.h"
#include "host/test_run.h"
#include "join/party.h"

namespace waggle {

inline PartyNode Node(const std::string& name, std::uint8_t number, bool validator = false) {
  PartyNode node{.name = name, .validator = validator};
  node.seed.fill(number);
  return node;
}

inline KeyPair KeyOf(std::uint8_t number) { return Party::KeyOf(Node("", number)); }

// In folder/hosted; what the nodes keep is in the folder too.
inline std::unique_ptr<Party> OpenParty(const TempFolder& folder, const Recipe& recipe,
                                        Party::Say say = nullptr,
                                        const PartyNode& host = Node("host", 1)) {
  if (!say && std::getenv("WAGGLE_SAY") != nullptr) {
    say = [](const std::string& name, const std::string& line) {
      fmt::print(stderr, "{}: {}\n", name, line);
    };
  }
  return Party::Open(recipe, SmallRunOptions(folder.path(), "hosted"), host, folder.path(),
                     std::move(say), SystemClock())
      .value();
}

}  // namespace waggle
