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
      // Numbers of grants and outcomes are those of their writer: desk << 40 and one of its own.
      // desks: every writer, 0 the host; times are milliseconds of the database's clock; what is
      // `closed` commits nothing more (the host: the run is over). delegated: 0 sent, 1 taken by
      // the desk, 2 answered, 3 handed back. noted: when the host heard of a group that a desk
      // accepted, among the numbers of its own outcomes.
      {"desks",
       {"ALTER TABLE grants ADD COLUMN desk BIGINT NOT NULL DEFAULT 0", "DROP INDEX grants_open",
        R"(CREATE UNIQUE INDEX grants_open ON grants (run, desk, lease, worker)
           WHERE ended IS NULL)",
        R"(CREATE TABLE desks (
             run TEXT NOT NULL, desk BIGINT NOT NULL, node TEXT NOT NULL,
             target BIGINT NOT NULL DEFAULT 0, wanted_back INTEGER NOT NULL DEFAULT 0,
             seen BIGINT NOT NULL, commits BIGINT NOT NULL DEFAULT 0,
             closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, desk)))",
        R"(CREATE TABLE delegated (
             run TEXT NOT NULL, lease BIGINT NOT NULL, desk BIGINT NOT NULL, terms TEXT NOT NULL,
             state INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, lease)))",
        "CREATE TABLE noted (run TEXT NOT NULL, number BIGINT NOT NULL, lease BIGINT NOT NULL, "
        "PRIMARY KEY (run, lease))",
        "CREATE UNIQUE INDEX noted_numbers ON noted (run, number)",
        "CREATE INDEX delegated_sent ON delegated (run, desk) WHERE state = 0",
        "CREATE INDEX delegated_ended ON delegated (run) WHERE state >= 2",
        R"(CREATE TABLE announcements (
             run TEXT NOT NULL, version BIGINT NOT NULL, manifest TEXT NOT NULL,
             snapshot TEXT NOT NULL, PRIMARY KEY (run, version)))"}},
  };
  return steps;
}

}  // namespace waggle
