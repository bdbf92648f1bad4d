// Decides evidence: from the file and public inputs alone, offline, the same on every machine.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "kernels/ops.h"
#include "proofs/evidence.h"
#include "run/run_site.h"

namespace waggle {

// Where what evidence names by hash is to be had.
class PublicInputs {
 public:
  virtual ~PublicInputs() = default;
  // The run's description with this SHA-256. Blame::kMachine: not here.
  virtual Result<Bytes> Description(const Hash256& run, const Hash256& hash) = 0;
  // The working weights with this root. Blame::kMachine: not here.
  virtual Result<std::shared_ptr<const Model>> Policy(const RunSite& site, const Hash256& run,
                                                      PolicyVersion version,
                                                      const Hash256& root) = 0;
  // A trainer in the state with this hash. Blame::kMachine: not here.
  virtual Result<std::unique_ptr<Trainer>> State(const RunSite& site, const Hash256& run,
                                                 PolicyVersion version, const Hash256& hash) = 0;
};

struct Decision {
  enum class Kind : std::uint8_t {
    kProved = 0,     // the accused said what the file says, and it is wrong
    kNotProved = 1,  // it does not follow: a false accusation, or forged evidence
    kFault = 2,      // cannot be told here: an input is missing, a machine failed
  };
  Kind kind = Kind::kFault;
  std::string text;  // one sentence: who lied about what, or why not
};
const char* ToString(Decision::Kind kind);

// `expected`: the key that must have signed the policies, where it is known from elsewhere.
Decision Decide(const Evidence& evidence, PublicInputs& inputs, ThreadPool& pool,
                const std::optional<NodeId>& expected = std::nullopt);

}  // namespace waggle
