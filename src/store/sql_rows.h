// The statements of a SqlStore, with the rows that they read and write. This folder's own.
#pragma once

#include <soci/soci.h>

#include <string>

#include "base/hex.h"
#include "store/run_store.h"

namespace waggle {

inline long long AsRow(std::uint64_t value) { return static_cast<long long>(value); }
inline std::uint64_t FromRow(long long value) { return static_cast<std::uint64_t>(value); }
std::string ToBase64(const Bytes& bytes);
Result<Bytes> FromBase64(const std::string& text);

// What the database said, as ours: it is never a peer's doing.
template <class F>
auto Guarded(const char* doing, F&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const soci::soci_error& error) {
    return Fail(Blame::kMachine, "store: {}: {}", doing, error.what());
  }
}

// Statements with their row, prepared once for a connection. `run` and `desk` outlive them.
class GrantRow {
 public:
  GrantRow(soci::session& sql, const std::string& run, const long long& desk)
      : insert_((sql.prepare << "INSERT INTO grants (run, desk, number, lease, worker, terms) "
                                "VALUES (:run, :desk, :number, :lease, :worker, :terms)",
                 soci::use(run), soci::use(desk), soci::use(number_), soci::use(lease_),
                 soci::use(worker_), soci::use(terms_))) {}

  void Write(long long number, const LeaseHolder& grant) {
    number_ = number;
    lease_ = AsRow(grant.lease.id.value);
    worker_ = ToText(grant.node);
    terms_ = ToBase64(Encode(grant.lease));
    insert_.execute(true);
  }

 private:
  long long number_ = 0, lease_ = 0;
  std::string worker_, terms_;
  soci::statement insert_;
};

class GroupRow {
 public:
  GroupRow(soci::session& sql, const std::string& run)
      : insert_((sql.prepare << "INSERT INTO accepted_groups (run, lease, terms, rollouts) "
                                "VALUES (:run, :lease, :terms, :rollouts) ON CONFLICT DO NOTHING",
                 soci::use(run), soci::use(lease_), soci::use(terms_), soci::use(rollouts_))) {}

  Status Write(const GroupRecord& record) {
    lease_ = AsRow(record.lease.id.value);
    terms_ = ToBase64(Encode(record.lease));
    rollouts_ = ToBase64(Encode(record.group));
    insert_.execute(true);
    if (insert_.get_affected_rows() == 1) return {};
    return Fail(Blame::kBug, "lease {:x} was accepted twice", record.lease.id.value);
  }

 private:
  long long lease_ = 0;
  std::string terms_, rollouts_;
  soci::statement insert_;
};

class OutcomeRow {
 public:
  OutcomeRow(soci::session& sql, const std::string& run, const long long& desk)
      : update_((sql.prepare << "UPDATE grants SET ended = :ended, outcome = :outcome, "
                                "reason = :reason, group_hash = :group, tokens = :tokens, "
                                "detail = :detail WHERE run = :run AND desk = :desk "
                                "AND lease = :lease AND worker = :worker AND ended IS NULL",
                 soci::use(ended_), soci::use(outcome_), soci::use(reason_, has_reason_),
                 soci::use(group_, has_group_), soci::use(tokens_), soci::use(detail_),
                 soci::use(run), soci::use(desk), soci::use(lease_), soci::use(worker_))) {}

  Status Write(long long ended, const OutcomeRecord& record) {
    ended_ = ended;
    lease_ = AsRow(record.lease.value);
    tokens_ = AsRow(record.tokens);
    outcome_ = static_cast<int>(record.outcome);
    has_reason_ = record.reason ? soci::i_ok : soci::i_null;
    reason_ = record.reason ? static_cast<int>(*record.reason) : 0;
    has_group_ = record.group ? soci::i_ok : soci::i_null;
    group_ = record.group ? ToHex(*record.group) : "";
    detail_ = record.text;
    worker_ = ToText(record.worker);
    update_.execute(true);
    if (update_.get_affected_rows() == 1) return {};
    return Fail(Blame::kBug, "lease {:x} of {} ended and was not open", record.lease.value,
                worker_);
  }

 private:
  long long ended_ = 0, lease_ = 0, tokens_ = 0;
  int outcome_ = 0, reason_ = 0;
  soci::indicator has_reason_ = soci::i_null, has_group_ = soci::i_null;
  std::string worker_, group_, detail_;
  soci::statement update_;
};

// The database's clock, milliseconds since 1970.
inline constexpr const char* kDatabaseClock =
    "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

// Where a delegation stands.
enum class DelegationState : std::uint8_t { kSent = 0, kTaken = 1, kAnswered = 2, kHandedBack = 3 };

// First in every commit: a sign of life, the fence, and the commit's number.
class ClaimRow {
 public:
  ClaimRow(soci::session& sql, const std::string& run, const long long& desk)
      : update_((sql.prepare << fmt::format("UPDATE desks SET seen = {}, commits = commits + 1 "
                                            "WHERE run = :run AND desk = :desk AND closed = 0",
                                            kDatabaseClock),
                 soci::use(run), soci::use(desk))) {}

  bool Write() {
    update_.execute(true);
    return update_.get_affected_rows() == 1;
  }

 private:
  soci::statement update_;
};

class DelegateRow {
 public:
  DelegateRow(soci::session& sql, const std::string& run)
      : insert_((sql.prepare << "INSERT INTO delegated (run, lease, desk, terms) "
                                "VALUES (:run, :lease, :desk, :terms)",
                 soci::use(run), soci::use(lease_), soci::use(desk_), soci::use(terms_))) {}

  void Write(const LeaseDelegated& delegated) {
    lease_ = AsRow(delegated.lease.id.value);
    desk_ = AsRow(delegated.desk.value);
    terms_ = ToBase64(Encode(delegated.lease));
    insert_.execute(true);
  }

 private:
  long long lease_ = 0, desk_ = 0;
  std::string terms_;
  soci::statement insert_;
};

class DelegationEndRow {
 public:
  DelegationEndRow(soci::session& sql, const std::string& run)
      : delete_((sql.prepare << "DELETE FROM delegated WHERE run = :run AND lease = :lease",
                 soci::use(run), soci::use(lease_))) {}

  void Write(LeaseId lease) {
    lease_ = AsRow(lease.value);
    delete_.execute(true);
  }

 private:
  long long lease_ = 0;
  soci::statement delete_;
};

class NoteRow {
 public:
  NoteRow(soci::session& sql, const std::string& run)
      : insert_((sql.prepare << "INSERT INTO noted (run, number, lease) "
                                "VALUES (:run, :number, :lease) ON CONFLICT DO NOTHING",
                 soci::use(run), soci::use(number_), soci::use(lease_))) {}

  void Write(long long number, LeaseId lease) {
    number_ = number;
    lease_ = AsRow(lease.value);
    insert_.execute(true);
  }

 private:
  long long number_ = 0, lease_ = 0;
  soci::statement insert_;
};

// A desk's answer.
class AnswerRow {
 public:
  AnswerRow(soci::session& sql, const std::string& run, const long long& desk)
      : update_((sql.prepare << "UPDATE delegated SET state = :state WHERE run = :run "
                                "AND lease = :lease AND desk = :desk AND state <= 1",
                 soci::use(state_), soci::use(run), soci::use(lease_), soci::use(desk))) {}

  Status Write(LeaseId lease, DelegationState state) {
    lease_ = AsRow(lease.value);
    state_ = static_cast<int>(state);
    update_.execute(true);
    if (update_.get_affected_rows() == 1) return {};
    return Fail(Blame::kBug, "lease {:x} is answered and was not this desk's to answer",
                lease.value);
  }

 private:
  long long lease_ = 0;
  int state_ = 0;
  soci::statement update_;
};

// When a desk was last silent for no reason of the database's: since then, in milliseconds.
inline constexpr const char* kSilence =
    "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - greatest(seen, "
    "CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000 AS BIGINT))";

// What is asked many times a second, prepared once for a connection as well.
struct HostPolls {
  HostPolls(soci::session& sql, const std::string& run)
      : open((sql.prepare << fmt::format("SELECT desk, node, target, {} FROM desks WHERE run = "
                                         ":run AND desk > 0 AND closed = 0 ORDER BY desk",
                                         kSilence),
              soci::use(run), soci::into(desk), soci::into(node), soci::into(target),
              soci::into(silent))),
        // Not a join: planned while tables are empty, it would read all groups for each.
        returns(
            (sql.prepare << "SELECT desk, lease, state, (SELECT terms FROM accepted_groups a WHERE "
                            "a.run = d.run AND a.lease = d.lease), (SELECT rollouts FROM "
                            "accepted_groups a WHERE a.run = d.run AND a.lease = d.lease) "
                            "FROM delegated d WHERE run = :run AND state >= 2",
             soci::use(run), soci::into(desk), soci::into(lease), soci::into(state),
             soci::into(terms, has_terms), soci::into(rollouts, has_rollouts))) {}

  long long desk = 0, target = 0, silent = 0, lease = 0;
  int state = 0;
  std::string node, terms, rollouts;
  soci::indicator has_terms = soci::i_null, has_rollouts = soci::i_null;
  soci::statement open, returns;
};

// beat: nothing is lost with a sign of life that is not on disk, so this commit waits for none.
struct DeskPolls {
  DeskPolls(soci::session& sql, const std::string& run, const long long& desk)
      : beat((sql.prepare << fmt::format(
                  "UPDATE desks SET seen = {}, target = :target WHERE run = :run AND desk = :desk "
                  "AND closed = 0 RETURNING set_config('synchronous_commit', 'off', true)",
                  kDatabaseClock),
              soci::use(target), soci::use(run), soci::use(desk), soci::into(setting))),
        look((sql.prepare << "SELECT mine.wanted_back, mine.closed, host.closed FROM desks mine "
                             "JOIN desks host ON host.run = mine.run AND host.desk = 0 "
                             "WHERE mine.run = :run AND mine.desk = :desk",
              soci::use(run), soci::use(desk), soci::into(wanted), soci::into(closed),
              soci::into(over))),
        policies((sql.prepare << "SELECT version, manifest, snapshot FROM announcements WHERE "
                                 "run = :run AND version > :after ORDER BY version",
                  soci::use(run), soci::use(after), soci::into(version), soci::into(manifest),
                  soci::into(snapshot))),
        take((sql.prepare << "UPDATE delegated SET state = 1 WHERE run = :run AND desk = :desk AND "
                             "state = 0 RETURNING terms",
              soci::use(run), soci::use(desk), soci::into(terms))),
        take_all((sql.prepare << "UPDATE delegated SET state = 1 WHERE run = :run AND desk = :desk "
                                 "AND state <= 1 RETURNING terms",
                  soci::use(run), soci::use(desk), soci::into(terms))) {}

  long long target = 0, after = 0, version = 0;
  int wanted = 0, closed = 0, over = 0;
  std::string setting, manifest, snapshot, terms;
  soci::statement beat, look, policies, take, take_all;
};

struct Rows {
  Rows(soci::session& sql, const std::string& run, const long long& desk)
      : grant(sql, run, desk), group(sql, run), outcome(sql, run, desk) {}
  GrantRow grant;
  GroupRow group;
  OutcomeRow outcome;
};

struct DeskRows {
  DeskRows(soci::session& sql, const std::string& run, const long long& desk)
      : claim(sql, run, desk),
        delegate(sql, run),
        end(sql, run),
        note(sql, run),
        answer(sql, run, desk) {}
  ClaimRow claim;
  DelegateRow delegate;
  DelegationEndRow end;
  NoteRow note;
  AnswerRow answer;
};

}  // namespace waggle
