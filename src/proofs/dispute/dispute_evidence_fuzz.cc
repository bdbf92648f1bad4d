// Arbitrary bytes as evidence of a dispute: refused by name, or what it leads to again. First the
// encoding, then the referee itself, which sees every reply that decodes.
#include "base/check.h"
#include "proofs/dispute/referee.h"

namespace {

// Believes every signature, so that replies reach the referee.
class Credulous : public waggle::Signer {
 public:
  const waggle::NodeId& id() const override { return id_; }
  waggle::Signature Sign(std::string_view, std::span<const std::uint8_t>) const override {
    return {};
  }
  bool Holds(const waggle::NodeId&, std::string_view, std::span<const std::uint8_t>,
             const waggle::Signature&) const override {
    return true;
  }

 private:
  waggle::NodeId id_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  static const Credulous signer;
  const auto evidence = DecodeDisputeEvidence({data, size});
  if (!evidence) {
    Check(evidence.error().blame == Blame::kPeer, "malformed evidence is its sender's");
    return 0;
  }
  Check(Encode(*evidence) == Bytes(data, data + size), "one evidence, one encoding");
  if (const Status status = CheckDisputeEvidence(*evidence, signer); !status)
    Check(status.error().blame == Blame::kPeer, "evidence that does not hold is its sender's");
  return 0;
}
