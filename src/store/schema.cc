#include "store/schema.h"

namespace waggle {

std::span<const SchemaStep> SchemaSteps() {
  // Ids of leases are unsigned; a BIGINT holds the same bits, so evaluations are negative. Bytes
  // are base64 text: the two databases agree on no other kind of binary. run and group_hash are
  // hexadecimal, workers are addresses (wgl1...), terms are the lease's bytes, outcome and reason
  // the numbers of protocol/messages.h and rollout/verdict.h. Grants and outcomes are numbered
  // from 1, each in its own order; a grant without `ended` is open.
  static const std::vector<SchemaStep> steps = {
      {"grants and accepted groups",
       {R"(CREATE TABLE grants (
             run TEXT NOT NULL, number BIGINT NOT NULL,
             lease BIGINT NOT NULL, worker TEXT NOT NULL, terms TEXT NOT NULL,
             ended BIGINT, outcome INTEGER, reason INTEGER, group_hash TEXT,
             tokens BIGINT NOT NULL DEFAULT 0, detail TEXT NOT NULL DEFAULT '',
             PRIMARY KEY (run, number)))",
        "CREATE UNIQUE INDEX grants_open ON grants (run, lease, worker) WHERE ended IS NULL",
        "CREATE UNIQUE INDEX grants_ended ON grants (run, ended) WHERE ended IS NOT NULL",
        R"(CREATE TABLE accepted_groups (
             run TEXT NOT NULL, lease BIGINT NOT NULL, terms TEXT NOT NULL, rollouts TEXT NOT NULL,
             PRIMARY KEY (run, lease)))"}},
  };
  return steps;
}

}  // namespace waggle
