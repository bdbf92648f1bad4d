// Arbitrary bytes as evidence of a dispute: refused by name, or what it leads to again. First the
// encoding, then the referee itself, which sees every reply that decodes.
#include "base/check.h"
#include "proofs/dispute/referee.h"
#include "proofs/dispute/test_credulous.h"

namespace {

// Every batch teaches nothing: what follows from responses is no part of this.
class Idle : public waggle::StepGround {
 public:
  waggle::Result<waggle::StepInputs> Inputs(
      std::uint64_t, std::uint64_t,
      std::span<const std::vector<waggle::TokenRecord>>) const override {
    waggle::StepInputs inputs;
    inputs.spec.data = waggle::DataRoot({});
    return inputs;
  }
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
  if (const Status status = CheckDisputeEvidence(
          *evidence, signer,
          [](const auto&, const auto&) -> Result<std::unique_ptr<const StepGround>> {
            return std::make_unique<const Idle>();
          });
      !status)
    Check(status.error().blame == Blame::kPeer, "evidence that does not hold is its sender's");
  return 0;
}
