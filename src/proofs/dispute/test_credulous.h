// For fuzzers: believes every signature, so that what stands behind them is reached.
#pragma once

#include "crypto/identity.h"

namespace waggle {

class Credulous : public Signer {
 public:
  const NodeId& id() const override { return id_; }
  Signature Sign(std::string_view, std::span<const std::uint8_t>) const override { return {}; }
  bool Holds(const NodeId&, std::string_view, std::span<const std::uint8_t>,
             const Signature&) const override {
    return true;
  }

 private:
  NodeId id_;
};

}  // namespace waggle
