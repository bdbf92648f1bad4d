#include "ledger/scenario.h"

#include <string>

#include "crypto/keccak.h"

namespace waggle {

KeyPair ScenarioKey(std::string_view name) {
  const std::string text = "waggle-scenario-key-1" + std::string(name);
  return KeyPair::FromSeed(
      Keccak256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}

}  // namespace waggle
