#include "store/run_store.h"

#include <soci/postgresql/soci-postgresql.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sodium.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "store/schema.h"
#include "store/sql_store.h"

namespace waggle {
namespace {

// A lease's id: bit 63 for evaluations, then wave (or version), then 24 bits of index
// (roles/orchestrator_core.h).
constexpr unsigned kIndexBits = 24;
constexpr std::uint64_t kEvaluationBit = std::uint64_t{1} << 63;
constexpr unsigned kWriterBits = 40;  // of the numbers of one writer

bool IsPostgres(const std::string& where) {
  return where.starts_with("postgresql://") || where.starts_with("postgres://");
}
constexpr int kLockAttempts = 10;
constexpr std::chrono::milliseconds kLockPause{100};

}  // namespace

std::string ToBase64(const Bytes& bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), kVariant), '\0');
  ::sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), kVariant);
  text.pop_back();  // the terminating zero
  return text;
}

Result<Bytes> FromBase64(const std::string& text) {
  Bytes bytes(text.size() / 4 * 3);
  std::size_t size = 0;
  if (::sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                          nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    return Fail(Blame::kMachine, "the store holds bytes that are not base64");
  bytes.resize(size);
  return bytes;
}

SqlStore::SqlStore(std::string where, std::string run)
    : where_(std::move(where)), run_(std::move(run)), postgres_(IsPostgres(where_)) {}

Status SqlStore::Connect(Access access) {
  if (access == Access::kRead && !postgres_ && !std::filesystem::exists(where_))
    return Fail(Blame::kOperator, "{}: no store of a run is there", where_);
  return Guarded("opening", [&]() -> Status {
    Dial();
    if (access == Access::kRead) return CheckSchema();
    if (!postgres_) {
      // FULL: a commit survives a loss of power, as everybody is told that it does.
      sql_ << "PRAGMA journal_mode = WAL";
      sql_ << "PRAGMA synchronous = FULL";
      // 64 MiB of log before it is worked into the file: the same pages are written again and
      // again.
      sql_ << "PRAGMA wal_autocheckpoint = 16384";
      sql_ << "PRAGMA cache_size = -32768";  // KiB
    }
    WG_TRY(BecomeWriter());
    WG_TRY(Migrate());
    WG_TRY(CheckAlone());
    Recount();
    WG_TRY(TakeHostsRow());
    return {};
  });
}

void SqlStore::Dial() {
  if (!postgres_) {
    sql_.open(soci::sqlite3, fmt::format("dbname=\"{}\" timeout=30", where_));
    return;
  }
  sql_.open(soci::postgresql, where_);
  Settle();
}

void SqlStore::Settle() {
  sql_ << "SET client_min_messages TO warning";
  // Statements are planned once, while tables are small, and stay: each has its index.
  for (const char* plan : {"seqscan", "hashjoin", "mergejoin"})
    sql_ << fmt::format("SET enable_{} TO off", plan);
}

// The lock of a run's folder keeps a second writer from its SQLite file; a database has no folder.
Status SqlStore::BecomeWriter() {
  if (!postgres_) return {};
  const std::string key =
      desk_ == 0 ? "hashtext(:run)" : fmt::format("hashtext(:run), {}", static_cast<int>(desk_));
  // The server may not have noticed yet that a host before us is gone; desks try again themselves.
  for (int attempt = 0; attempt < (desk_ == 0 ? kLockAttempts : 1); ++attempt) {
    int is_ours = 0;
    sql_ << fmt::format("SELECT CASE WHEN pg_try_advisory_lock({}) THEN 1 ELSE 0 END", key),
        soci::use(run_), soci::into(is_ours);
    if (is_ours == 1) return {};
    if (desk_ == 0) std::this_thread::sleep_for(kLockPause);
  }
  if (desk_ > 0)
    return Fail(Blame::kOperator, "this node is a desk of the run already: each has its own --key");
  return Fail(Blame::kOperator, "run {}... has a host already, on this very database",
              run_.substr(0, 12));
}

Status SqlStore::CheckSchema() {
  std::size_t version = 0;
  sql_ << "SELECT count(*) FROM schema_steps", soci::into(version);
  if (version == SchemaSteps().size()) return {};
  return Fail(Blame::kOperator, "store {}: schema {}, this waggle reads schema {}", where_, version,
              SchemaSteps().size());
}

Status SqlStore::Migrate() {
  sql_ << "CREATE TABLE IF NOT EXISTS schema_steps (version INTEGER PRIMARY KEY, what TEXT)";
  const auto steps = SchemaSteps();
  int version = 0;
  sql_ << "SELECT count(*) FROM schema_steps", soci::into(version);
  if (version > static_cast<int>(steps.size())) return CheckSchema();
  for (; version < static_cast<int>(steps.size()); ++version) {
    soci::transaction step(sql_);
    for (const std::string& statement : steps[static_cast<std::size_t>(version)].statements)
      sql_ << statement;
    const std::string what = steps[static_cast<std::size_t>(version)].what;
    sql_ << "INSERT INTO schema_steps VALUES (:version, :what)", soci::use(version),
        soci::use(what);
    step.commit();
  }
  return {};
}

// A PostgreSQL database may hold many runs; the file in a run's folder is that run's own.
Status SqlStore::CheckAlone() {
  if (postgres_) return {};
  std::string other;
  soci::indicator found = soci::i_null;
  sql_ << "SELECT max(run) FROM grants WHERE run <> :run", soci::use(run_),
      soci::into(other, found);
  if (found == soci::i_null) return {};
  return Fail(Blame::kOperator, "store {} is of another run ({}...)", where_, other.substr(0, 12));
}

long long SqlStore::Newest(const char* column) {
  long long newest = 0;
  const long long base = desk_ << kWriterBits, end = (desk_ + 1) << kWriterBits;
  sql_ << fmt::format(
      "SELECT coalesce(max({0}), {1}) FROM grants WHERE run = :run AND {0} >= {1} AND {0} < {2}",
      column, base, end),
      soci::use(run_), soci::into(newest);
  return newest;
}

void SqlStore::Recount() {
  granted_ = Newest("number");
  ended_ = Newest("ended");
  if (desk_ == 0) {
    long long noted = 0;
    sql_ << "SELECT coalesce(max(number), 0) FROM noted WHERE run = :run", soci::use(run_),
        soci::into(noted);
    ended_ = std::max(ended_, noted);
  }
  commits_ = Commits();
}

void SqlStore::ForgetStatements() {
  rows_.reset();
  desk_rows_.reset();
  host_polls_.reset();
  desk_polls_.reset();
}

Status SqlStore::Reconnect() {
  return Guarded("reconnecting", [&]() -> Status {
    ForgetStatements();
    sql_.reconnect();
    if (postgres_) Settle();
    WG_TRY(BecomeWriter());
    Recount();
    taken_ = false;
    return {};
  });
}

// A database server may die and come back between two of our words.
Status SqlStore::Commit(const StoreBatch& batch) {
  if (batch.empty()) return {};
  const long long granted = granted_, ended = ended_, commits = commits_;
  Status done = Write(batch);
  for (int attempt = 0; !done && !closed_ && !sql_.is_connected() && attempt < kReconnects;
       ++attempt) {
    std::this_thread::sleep_for(kReconnectPause);
    if (!Reconnect()) continue;
    // A commit whose answer was lost is a commit.
    if (commits_ == commits + 1) return {};
    done = Write(batch);
  }
  if (!done) granted_ = granted, ended_ = ended, commits_ = commits;
  return done;
}

Status SqlStore::Write(const StoreBatch& batch) {
  const Status done = Guarded("writing", [&]() -> Status {
    soci::transaction all(sql_);
    if (!rows_) rows_.emplace(sql_, run_, desk_);
    if (postgres_) {
      if (!desk_rows_) desk_rows_.emplace(sql_, run_, desk_);
      if (!desk_rows_->claim.Write()) return Closed();
    }
    for (const StoreEntry& entry : batch) {
      if (const auto* granted = std::get_if<LeaseHolder>(&entry)) {
        rows_->grant.Write(++granted_, *granted);
      } else if (const auto* accepted = std::get_if<GroupRecord>(&entry)) {
        if (desk_ > 0)
          WG_TRY(desk_rows_->answer.Write(accepted->lease.id, DelegationState::kAnswered));
        WG_TRY(rows_->group.Write(*accepted));
      } else if (const auto* ended = std::get_if<OutcomeRecord>(&entry)) {
        WG_TRY(rows_->outcome.Write(++ended_, *ended));
      } else {
        WG_TRY(Write(std::get<DeskEntry>(entry)));
      }
    }
    all.commit();
    return {};
  });
  if (done) ++commits_;
  if (!done) ForgetStatements();  // whatever state they are in
  return done;
}

// Both as (run, two bounds) -> (terms, rollouts).
constexpr const char* kByLease =
    "SELECT terms, rollouts FROM accepted_groups "
    "WHERE run = :run AND lease >= :first AND lease < :last ORDER BY lease";
// What a desk accepted came when the host noted it.
constexpr const char* kByArrival =
    "SELECT a.terms, a.rollouts FROM (SELECT run, lease, ended AS number FROM grants "
    "WHERE outcome = 1 AND desk = 0 UNION ALL SELECT run, lease, number FROM noted) came "
    "JOIN accepted_groups a ON a.run = came.run AND a.lease = came.lease "
    "WHERE a.run = :run AND a.lease >= 0 ORDER BY came.number LIMIT :rows OFFSET :first";
static_assert(static_cast<int>(Outcome::kAccepted) == 1);

Result<std::vector<GroupRecord>> SqlStore::Groups(std::uint64_t first, std::uint64_t end) {
  return Guarded("reading groups", [&]() -> Result<std::vector<GroupRecord>> {
    std::vector<GroupRecord> records;
    for (const std::uint64_t kind : {std::uint64_t{0}, kEvaluationBit}) {
      WG_TRY(Select(kByLease, AsRow(kind | (first << kIndexBits)),
                    AsRow(kind | (end << kIndexBits)), records));
    }
    return records;
  });
}

Result<std::vector<GroupRecord>> SqlStore::Evaluations(std::uint64_t first, std::uint64_t end) {
  return Guarded("reading evaluations", [&]() -> Result<std::vector<GroupRecord>> {
    std::vector<GroupRecord> records;
    WG_TRY(Select(kByLease, AsRow(kEvaluationBit | (first << kIndexBits)),
                  AsRow(kEvaluationBit | (end << kIndexBits)), records));
    return records;
  });
}

Result<std::vector<GroupRecord>> SqlStore::Arrived(std::uint64_t first, std::uint64_t count) {
  return Guarded("reading groups", [&]() -> Result<std::vector<GroupRecord>> {
    std::vector<GroupRecord> records;
    WG_TRY(Select(kByArrival, AsRow(count), AsRow(first), records));
    return records;
  });
}

Result<std::optional<GroupRecord>> SqlStore::GroupOf(LeaseId lease) {
  return Guarded("reading a group", [&]() -> Result<std::optional<GroupRecord>> {
    std::vector<GroupRecord> records;
    WG_TRY(Select(kByLease, AsRow(lease.value), AsRow(lease.value) + 1, records));
    if (records.empty()) return std::optional<GroupRecord>();
    return std::optional(std::move(records.front()));
  });
}

Status SqlStore::Select(const char* query, long long one, long long two,
                        std::vector<GroupRecord>& records) {
  std::string terms, rollouts;
  soci::statement select = (sql_.prepare << query, soci::use(run_), soci::use(one), soci::use(two),
                            soci::into(terms), soci::into(rollouts));
  select.execute();
  while (select.fetch()) {
    WG_ASSIGN(const Bytes lease_bytes, FromBase64(terms));
    WG_ASSIGN(const Bytes group_bytes, FromBase64(rollouts));
    WG_ASSIGN(Lease lease, DecodeLease(lease_bytes));
    WG_ASSIGN(Group group, DecodeGroup(group_bytes));
    records.push_back({std::move(lease), std::move(group)});
  }
  return {};
}

Result<std::vector<OpenGrant>> SqlStore::OpenGrants() {
  return Guarded("reading grants", [&]() -> Result<std::vector<OpenGrant>> {
    std::string worker, terms;
    int superseded = 0;
    // The host: what is a desk's by now. A desk: what is not its own any more.
    const std::string elsewhere =
        desk_ == 0 ? "EXISTS (SELECT 1 FROM delegated d WHERE d.run = g.run AND d.lease = g.lease)"
                   : "NOT EXISTS (SELECT 1 FROM delegated d WHERE d.run = g.run AND "
                     "d.lease = g.lease AND d.desk = g.desk AND d.state = 1)";
    soci::statement select =
        (sql_.prepare << fmt::format(
             "SELECT worker, terms, CASE WHEN EXISTS (SELECT 1 FROM accepted_groups a "
             "WHERE a.run = g.run AND a.lease = g.lease) OR EXISTS (SELECT 1 FROM grants later "
             "WHERE later.run = g.run AND later.desk = g.desk AND later.lease = g.lease AND "
             "later.number > g.number AND later.ended IS NULL) OR {} THEN 1 ELSE 0 END FROM "
             "grants g WHERE run = :run AND desk = :desk AND ended IS NULL ORDER BY number",
             elsewhere),
         soci::use(run_), soci::use(desk_), soci::into(worker), soci::into(terms),
         soci::into(superseded));
    select.execute();
    std::vector<OpenGrant> open;
    while (select.fetch()) {
      WG_ASSIGN(const Bytes bytes, FromBase64(terms));
      WG_ASSIGN(Lease lease, DecodeLease(bytes));
      WG_ASSIGN(const NodeId node, ParseNodeId(worker));
      open.push_back({{node, std::move(lease)}, superseded == 1});
    }
    return open;
  });
}

Result<RunStore::Counts> SqlStore::Count() {
  return Guarded("counting", [&]() -> Result<Counts> {
    long long granted = 0, ended = 0, tokens = 0, accepted = 0;
    sql_ << "SELECT count(*), count(ended), coalesce(sum(tokens), 0) FROM grants WHERE run = :run",
        soci::use(run_), soci::into(granted), soci::into(ended), soci::into(tokens);
    sql_ << "SELECT count(*) FROM accepted_groups WHERE run = :run", soci::use(run_),
        soci::into(accepted);
    return Counts{FromRow(granted), FromRow(granted - ended), FromRow(accepted), FromRow(tokens)};
  });
}

Result<std::vector<RunStore::Ended>> SqlStore::Outcomes(std::uint64_t after,
                                                        std::uint32_t rows_max) {
  return Guarded("reading outcomes", [&]() -> Result<std::vector<Ended>> {
    long long number = 0, lease = 0, tokens = 0;
    const long long from = AsRow(after), rows = rows_max;
    int outcome = 0, reason = 0;
    soci::indicator has_reason, has_group;
    std::string worker, group, detail;
    soci::statement select =
        (sql_.prepare << "SELECT ended, lease, worker, outcome, reason, group_hash, tokens, detail "
                         "FROM grants WHERE run = :run AND ended > :after ORDER BY ended "
                         "LIMIT :rows",
         soci::use(run_), soci::use(from), soci::use(rows), soci::into(number), soci::into(lease),
         soci::into(worker), soci::into(outcome), soci::into(reason, has_reason),
         soci::into(group, has_group), soci::into(tokens), soci::into(detail));
    select.execute();
    std::vector<Ended> all;
    while (select.fetch()) {
      OutcomeRecord record{.lease = LeaseId{FromRow(lease)},
                           .outcome = static_cast<Outcome>(outcome),
                           .tokens = FromRow(tokens),
                           .text = detail};
      WG_ASSIGN(record.worker, ParseNodeId(worker));
      if (has_reason == soci::i_ok) record.reason = static_cast<RejectReason>(reason);
      if (has_group == soci::i_ok) {
        WG_ASSIGN(const std::string bytes, FromHex(group));
        Hash256 hash{};
        if (bytes.size() != hash.size())
          return Fail(Blame::kMachine, "the store holds a group hash of {} bytes", bytes.size());
        std::copy(bytes.begin(), bytes.end(), hash.begin());
        record.group = hash;
      }
      all.push_back({FromRow(number), std::move(record)});
    }
    return all;
  });
}

Status SqlStore::CopyTo(const std::string& where) {
  SqlStore to(where, run_);
  WG_TRY(to.Connect(Access::kWrite));
  WG_ASSIGN(const Counts there, to.Count());
  if (there != Counts{})
    return Fail(Blame::kOperator, "{} holds rows of run {}... already", where, run_.substr(0, 12));
  return Guarded("copying", [&]() -> Status {
    soci::transaction as_it_stands(sql_);
    if (postgres_) sql_ << "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    soci::transaction all(to.sql_);
    WG_TRY(CopyRows(to.sql_));
    to.Recount();
    to.EndGrantsOf("desk > 0", "its desk is not part of this copy");
    to.Note(
        "accepted_groups a WHERE run = :run AND NOT EXISTS (SELECT 1 FROM noted n WHERE n.run = "
        "a.run AND n.lease = a.lease) AND EXISTS (SELECT 1 FROM grants g WHERE g.run = a.run AND "
        "g.lease = a.lease AND g.outcome = 1 AND g.desk > 0)");
    all.commit();
    return {};
  });
}

Status SqlStore::CopyRows(soci::session& to) {
  long long number = 0, desk = 0, lease = 0, ended = 0, tokens = 0;
  int outcome = 0, reason = 0;
  soci::indicator has_end, has_outcome, has_reason, has_group;
  std::string worker, terms, group, detail, rollouts;
  soci::statement grants =
      (sql_.prepare << "SELECT number, desk, lease, worker, terms, ended, outcome, reason, "
                       "group_hash, tokens, detail FROM grants WHERE run = :run ORDER BY number",
       soci::use(run_), soci::into(number), soci::into(desk), soci::into(lease), soci::into(worker),
       soci::into(terms), soci::into(ended, has_end), soci::into(outcome, has_outcome),
       soci::into(reason, has_reason), soci::into(group, has_group), soci::into(tokens),
       soci::into(detail));
  soci::statement put_grant =
      (to.prepare << "INSERT INTO grants (run, number, desk, lease, worker, terms, ended, outcome, "
                     "reason, group_hash, tokens, detail) VALUES (:run, :number, :desk, :lease, "
                     ":worker, :terms, :ended, :outcome, :reason, :group, :tokens, :detail)",
       soci::use(run_), soci::use(number), soci::use(desk), soci::use(lease), soci::use(worker),
       soci::use(terms), soci::use(ended, has_end), soci::use(outcome, has_outcome),
       soci::use(reason, has_reason), soci::use(group, has_group), soci::use(tokens),
       soci::use(detail));
  grants.execute();
  while (grants.fetch()) put_grant.execute(true);
  soci::statement groups =
      (sql_.prepare << "SELECT lease, terms, rollouts FROM accepted_groups WHERE run = :run",
       soci::use(run_), soci::into(lease), soci::into(terms), soci::into(rollouts));
  soci::statement put_group =
      (to.prepare << "INSERT INTO accepted_groups VALUES (:run, :lease, :terms, :rollouts)",
       soci::use(run_), soci::use(lease), soci::use(terms), soci::use(rollouts));
  groups.execute();
  while (groups.fetch()) put_group.execute(true);
  soci::statement noted = (sql_.prepare << "SELECT number, lease FROM noted WHERE run = :run",
                           soci::use(run_), soci::into(number), soci::into(lease));
  soci::statement put_noted =
      (to.prepare << "INSERT INTO noted (run, number, lease) VALUES (:run, :number, :lease)",
       soci::use(run_), soci::use(number), soci::use(lease));
  noted.execute();
  while (noted.fetch()) put_noted.execute(true);
  return {};
}

Result<std::unique_ptr<RunStore>> RunStore::Open(const std::string& where, const Hash256& run,
                                                 Access access) {
  auto store = std::make_unique<SqlStore>(where, ToHex(run));
  WG_TRY(store->Connect(access));
  return std::unique_ptr<RunStore>(std::move(store));
}

}  // namespace waggle
