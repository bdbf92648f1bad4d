#include "store/ledger_store.h"

#include <fcntl.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/descriptor.h"
#include "base/hex.h"
#include "store/sql_rows.h"

namespace waggle {
namespace {

constexpr std::uint64_t kPage = 1'000;
constexpr std::size_t kGenesisBytesMax = 1'024;
constexpr int kSchemaVersion = 1;
constexpr int kSnapshotsKept = 2;

// Bytes are base64 and digests hexadecimal text, as in store/schema.cc, for the same reason.
constexpr const char* kTables[] = {
    "CREATE TABLE IF NOT EXISTS ledger_schema (version INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS ledgers (ledger TEXT PRIMARY KEY, genesis TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ledger_entries (ledger TEXT NOT NULL, sequence BIGINT NOT NULL, "
    "entry TEXT NOT NULL, root TEXT NOT NULL, head TEXT NOT NULL, PRIMARY KEY (ledger, sequence))",
    "CREATE TABLE IF NOT EXISTS ledger_snapshots (ledger TEXT NOT NULL, sequence BIGINT NOT NULL, "
    "at_ms BIGINT NOT NULL, chain TEXT NOT NULL, root TEXT NOT NULL, head TEXT NOT NULL, "
    "state TEXT NOT NULL, PRIMARY KEY (ledger, sequence))"};

bool IsPostgres(const std::string& where) {
  return where.starts_with("postgresql://") || where.starts_with("postgres://");
}

template <std::size_t N>
Status FromText(const std::string& hex, std::array<std::uint8_t, N>& bytes) {
  const auto raw = FromHex(hex);
  if (!raw || raw->size() != N)
    return Fail(Blame::kMachine, "the ledger's store holds '{}' where {} bytes belong", hex, N);
  std::copy(raw->begin(), raw->end(), bytes.begin());
  return {};
}

class SqlLedgerStore final : public LedgerStore {
 public:
  explicit SqlLedgerStore(std::string where)
      : where_(std::move(where)), postgres_(IsPostgres(where_)) {}

  Status Connect(Access access, const std::optional<LedgerGenesis>& genesis);
  const LedgerGenesis& genesis() const override { return genesis_; }
  Status Append(std::span<const LogRecord> records) override;
  Status Keep(const LedgerState& state, const LedgerHead& head) override;
  Result<std::vector<LogRecord>> Read(std::uint64_t first, std::uint64_t count) override;
  Result<LedgerReplay> Load(bool whole, SignatureCheck check) override;

 private:
  Status BecomeWriter();
  Status CheckSchema();
  Status FindGenesis(const std::optional<LedgerGenesis>& wanted);
  Status MakeLedger(const LedgerGenesis& genesis);
  Result<std::optional<LedgerReplay>> FromSnapshot(const SignatureCheck& check);

  const std::string where_;
  const bool postgres_;
  Descriptor lock_;  // of the writer of an SQLite file
  soci::session sql_;
  LedgerGenesis genesis_;
  std::string ledger_;  // its id, hexadecimal
  long long last_ = 0;  // sequence of the last record
};

Status SqlLedgerStore::Connect(Access access, const std::optional<LedgerGenesis>& genesis) {
  if (access == Access::kRead && !postgres_ && !std::filesystem::exists(where_))
    return Fail(Blame::kOperator, "{}: no ledger is there", where_);
  if (genesis) ledger_ = ToHex(IdOf(*genesis).value);
  return Guarded("opening the ledger", [&]() -> Status {
    if (postgres_)
      sql_.open(soci::postgresql, where_);
    else
      sql_.open(soci::sqlite3, fmt::format("dbname=\"{}\" timeout=30", where_));
    if (access == Access::kWrite) {
      Check(genesis.has_value(), "a writer knows which ledger it writes");
      WG_TRY(BecomeWriter());
      WG_TRY(MakeLedger(*genesis));
    }
    WG_TRY(CheckSchema());
    WG_TRY(FindGenesis(genesis));
    sql_ << "SELECT coalesce(max(sequence), 0) FROM ledger_entries WHERE ledger = :ledger",
        soci::use(ledger_), soci::into(last_);
    return {};
  });
}

Status SqlLedgerStore::BecomeWriter() {
  if (!postgres_) {
    const std::string path = where_ + ".lock";
    lock_ = Descriptor(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    if (lock_.get() < 0)
      return Fail(Blame::kOperator, "cannot open {}: {}", path, std::strerror(errno));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
      return Fail(Blame::kOperator, "{} has a writer already", where_);
    // FULL: what was answered survives a loss of power.
    sql_ << "PRAGMA journal_mode = WAL";
    sql_ << "PRAGMA synchronous = FULL";
    return {};
  }
  sql_ << "SET client_min_messages TO warning";
  int is_ours = 0;
  sql_ << "SELECT CASE WHEN pg_try_advisory_lock(hashtext(:ledger)) THEN 1 ELSE 0 END",
      soci::use(ledger_), soci::into(is_ours);
  if (is_ours == 1) return {};
  return Fail(Blame::kOperator, "ledger {}... has a writer already, on this very database",
              ledger_.substr(0, 12));
}

Status SqlLedgerStore::MakeLedger(const LedgerGenesis& genesis) {
  soci::transaction all(sql_);
  for (const char* table : kTables) sql_ << table;
  int versions = 0, others = 0;
  sql_ << "SELECT count(*) FROM ledger_schema", soci::into(versions);
  if (versions == 0)
    sql_ << "INSERT INTO ledger_schema VALUES (:version)", soci::use(kSchemaVersion);
  // A database may hold many ledgers; a file is one's own.
  sql_ << "SELECT count(*) FROM ledgers WHERE ledger <> :ledger", soci::use(ledger_),
      soci::into(others);
  if (others > 0 && !postgres_) return Fail(Blame::kOperator, "{} is of another ledger", where_);
  const std::string bytes = ToBase64(WireEncode(genesis, kGenesisBytesMax));
  sql_ << "INSERT INTO ledgers VALUES (:ledger, :genesis) ON CONFLICT DO NOTHING",
      soci::use(ledger_), soci::use(bytes);
  all.commit();
  return {};
}

Status SqlLedgerStore::CheckSchema() {
  int version = 0;
  sql_ << "SELECT coalesce(max(version), 0) FROM ledger_schema", soci::into(version);
  if (version == kSchemaVersion) return {};
  return Fail(Blame::kOperator, "{}: a ledger of schema {}, this waggle reads schema {}", where_,
              version, kSchemaVersion);
}

Status SqlLedgerStore::FindGenesis(const std::optional<LedgerGenesis>& wanted) {
  int count = 0;
  std::string bytes, id;
  soci::indicator found = soci::i_null;
  if (wanted) {
    sql_ << "SELECT ledger, genesis FROM ledgers WHERE ledger = :ledger", soci::use(ledger_),
        soci::into(id, found), soci::into(bytes);
    count = sql_.got_data() ? 1 : 0;
  } else {
    sql_ << "SELECT count(*), max(ledger), max(genesis) FROM ledgers", soci::into(count),
        soci::into(id, found), soci::into(bytes, found);
  }
  if (count == 0) return Fail(Blame::kOperator, "{}: no such ledger is there", where_);
  if (count > 1)
    return Fail(Blame::kOperator, "{} holds {} ledgers: export the one you mean", where_, count);
  WG_ASSIGN(const Bytes raw, FromBase64(bytes));
  auto genesis = WireDecode<LedgerGenesis>(raw, kGenesisBytesMax);
  if (!genesis || ToHex(IdOf(*genesis).value) != id)
    return Fail(Blame::kMachine, "{}: the genesis is not that of its ledger", where_);
  genesis_ = std::move(*genesis);
  ledger_ = id;
  return {};
}

Status SqlLedgerStore::Append(std::span<const LogRecord> records) {
  const long long before = last_;
  Status done = Guarded("writing the ledger", [&]() -> Status {
    soci::transaction all(sql_);
    long long sequence = 0;
    std::string entry, root, head;
    soci::statement insert =
        (sql_.prepare << "INSERT INTO ledger_entries VALUES (:ledger, :sequence, :entry, :root, "
                         ":head)",
         soci::use(ledger_), soci::use(sequence), soci::use(entry), soci::use(root),
         soci::use(head));
    for (const LogRecord& record : records) {
      sequence = ++last_;
      entry = ToBase64(record.entry);
      root = record.root ? ToHex(*record.root) : "";
      head = ToHex(record.head_signature);
      insert.execute(true);
    }
    all.commit();
    return {};
  });
  if (!done) last_ = before;
  return done;
}

Status SqlLedgerStore::Keep(const LedgerState& state, const LedgerHead& head) {
  Check(head.root.has_value(), "a snapshot's head has its root");
  return Guarded("keeping a snapshot of the ledger", [&]() -> Status {
    soci::transaction all(sql_);
    const long long sequence = AsRow(head.sequence), at = AsRow(head.at_ms);
    const std::string chain = ToHex(head.chain), root = ToHex(*head.root),
                      signature = ToHex(head.signature), bytes = ToBase64(Encode(state));
    sql_ << "DELETE FROM ledger_snapshots WHERE ledger = :ledger AND sequence = :sequence",
        soci::use(ledger_), soci::use(sequence);
    sql_ << "INSERT INTO ledger_snapshots VALUES (:ledger, :sequence, :at, :chain, :root, :head, "
            ":state)",
        soci::use(ledger_), soci::use(sequence), soci::use(at), soci::use(chain), soci::use(root),
        soci::use(signature), soci::use(bytes);
    sql_ << fmt::format(
        "DELETE FROM ledger_snapshots WHERE ledger = :ledger AND sequence NOT IN (SELECT sequence "
        "FROM ledger_snapshots WHERE ledger = :ledger2 ORDER BY sequence DESC LIMIT {})",
        kSnapshotsKept),
        soci::use(ledger_, "ledger"), soci::use(ledger_, "ledger2");
    all.commit();
    return {};
  });
}

Result<std::vector<LogRecord>> SqlLedgerStore::Read(std::uint64_t first, std::uint64_t count) {
  return Guarded("reading the ledger", [&]() -> Result<std::vector<LogRecord>> {
    std::vector<LogRecord> records;
    const long long from = AsRow(first), rows = AsRow(count);
    std::string entry, root, head;
    soci::statement select =
        (sql_.prepare << "SELECT entry, root, head FROM ledger_entries WHERE ledger = :ledger AND "
                         "sequence >= :first ORDER BY sequence LIMIT :rows",
         soci::use(ledger_), soci::use(from), soci::use(rows), soci::into(entry), soci::into(root),
         soci::into(head));
    for (bool more = select.execute(true); more; more = select.fetch()) {
      LogRecord record;
      WG_ASSIGN(record.entry, FromBase64(entry));
      if (!root.empty()) WG_TRY(FromText(root, record.root.emplace()));
      WG_TRY(FromText(head, record.head_signature));
      records.push_back(std::move(record));
    }
    return records;
  });
}

// The newest snapshot that is what the sequencer signed; none is no failure.
Result<std::optional<LedgerReplay>> SqlLedgerStore::FromSnapshot(const SignatureCheck& check) {
  struct Row {
    long long sequence = 0, at = 0;
    std::string chain, root, head, state;
  };
  std::vector<Row> rows;
  WG_TRY(Guarded("reading a snapshot of the ledger", [&]() -> Status {
    Row row;
    soci::statement select =
        (sql_.prepare << "SELECT sequence, at_ms, chain, root, head, state FROM ledger_snapshots "
                         "WHERE ledger = :ledger ORDER BY sequence DESC",
         soci::use(ledger_), soci::into(row.sequence), soci::into(row.at), soci::into(row.chain),
         soci::into(row.root), soci::into(row.head), soci::into(row.state));
    for (bool more = select.execute(true); more; more = select.fetch()) rows.push_back(row);
    return {};
  }));
  for (const Row& row : rows) {
    LedgerHead head{IdOf(genesis_), FromRow(row.sequence), FromRow(row.at), {}, std::nullopt, {}};
    if (!FromText(row.chain, head.chain) || !FromText(row.root, head.root.emplace()) ||
        !FromText(row.head, head.signature) || row.sequence > last_)
      continue;
    const auto bytes = FromBase64(row.state);
    if (!bytes || !HeadHolds(genesis_, head, check)) continue;
    auto state = DecodeState(*bytes);
    if (!state || RootOf(*state) != *head.root || state->sequence != head.sequence) continue;
    return std::optional(
        LedgerReplay(Ledger(genesis_, std::move(*state), check), head.chain, check));
  }
  return std::optional<LedgerReplay>();
}

Result<LedgerReplay> SqlLedgerStore::Load(bool whole, SignatureCheck check) {
  LedgerReplay replay(genesis_, check);
  if (!whole) {
    WG_ASSIGN(auto snapshot, FromSnapshot(check));
    if (snapshot) replay = std::move(*snapshot);
  }
  for (;;) {
    WG_ASSIGN(const auto records, Read(replay.ledger().state().sequence + 1, kPage));
    if (records.empty()) return replay;
    for (const LogRecord& record : records) {
      if (auto fed = replay.Feed(record); !fed)
        return Fail(Blame::kMachine, "{}: {}", where_, fed.error().what);
    }
  }
}

}  // namespace

Result<std::unique_ptr<LedgerStore>> LedgerStore::Open(
    const std::string& where, Access access, const std::optional<LedgerGenesis>& genesis) {
  auto store = std::make_unique<SqlLedgerStore>(where);
  WG_TRY(store->Connect(access, genesis));
  return std::unique_ptr<LedgerStore>(std::move(store));
}

}  // namespace waggle
