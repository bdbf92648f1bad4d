// Batches by arrival (docs/adr/0018), where others check them: the batch of step v is the accepted
// groups number v G to (v + 1) G of the run. Signed windows name what was accepted, in order, and
// say at which place they begin, so that they leave a trainer no choice; receipts name the place of
// a group, so that they leave it none either about what it accepted.
//
// A lease of place n is made when version n / G - ahead is the newest at the earliest, and the
// batch of step n / G waits for it: so its group stands in one of the windows of these steps.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "audit/steps/step_log.h"
#include "proofs/evidence.h"
#include "run/recipe.h"

namespace waggle {

// The steps in whose windows a group can stand.
struct WindowSpan {
  PolicyVersion first, last;
  bool operator==(const WindowSpan&) const = default;
};

struct ArrivalTerms {
  std::uint64_t groups = 0;  // of a batch; 0: batches do not form by arrival
  std::uint64_t ahead = 0;
  std::uint64_t steps = 0;  // of the run
  bool whole = true;        // no filter takes groups out of a batch
  bool by_arrival() const { return groups > 0; }
  WindowSpan SpanOfPlace(std::uint64_t place) const;
  WindowSpan SpanOfStep(PolicyVersion version) const;
};
ArrivalTerms ArrivalTermsOf(const OrchestratorRecipe& plan);

// What a step and the windows of its span show. REQUIRES terms.by_arrival().
struct OrderShown {
  enum class Kind : std::uint8_t { kHolds = 0, kLie = 1, kNothing = 2 };
  Kind kind = Kind::kNothing;  // kNothing: not signed as it says, or not all of it is here
  std::string why;             // empty: it holds
};
OrderShown ShowOrder(const OrderProof& proof, const ArrivalTerms& terms, const Hash256& run,
                     const NodeId& trainer);

// Follows the steps of a run as they are told, in order of versions. What it says of each is
// ShowOrder's, or nothing before the windows of a whole span were heard.
class ArrivalOrder {
 public:
  ArrivalOrder(const ArrivalTerms& terms, const Hash256& run) : terms_(terms), run_(run) {}

  // The proof that a step is not what its windows leave it. The step is signed by the trainer, and
  // its window (WindowHolds).
  struct Lie {
    std::string why;
    std::optional<OrderProof> proof;  // none: a step that does not say its order at all
  };
  std::optional<Lie> Note(const SignedStep& step, const NodeId& trainer);

 private:
  const ArrivalTerms terms_;
  const Hash256 run_;
  std::uint64_t next_ = 0;             // version of the step that comes next
  std::deque<OrderedWindow> windows_;  // of the versions before it, without a gap
};

}  // namespace waggle
