#include "store/desk_store.h"

#include <algorithm>

#include "store/sql_store.h"

namespace waggle {
namespace {

constexpr int kSyncsPerBeat = 25;  // a sign of life at least this often, a wish at once
constexpr int kRegisterAttempts = 10;

Result<std::optional<Hash256>> HashFrom(const std::string& text) {
  if (text.empty()) return std::optional<Hash256>();
  WG_ASSIGN(const std::string bytes, FromHex(text));
  Hash256 hash{};
  if (bytes.size() != hash.size())
    return Fail(Blame::kMachine, "the store holds a manifest's hash of {} bytes", bytes.size());
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return std::optional(hash);
}

std::string ToHexOrNothing(const std::optional<Hash256>& hash) { return hash ? ToHex(*hash) : ""; }

Result<Lease> LeaseFrom(const std::string& terms) {
  WG_ASSIGN(const Bytes bytes, FromBase64(terms));
  return DecodeLease(bytes);
}

}  // namespace

Status SqlStore::Closed() {
  closed_ = true;
  return Fail(Blame::kMachine, "the host has closed this desk: it was silent for too long");
}

// Also: what was answered before a restart of the host is among the accepted groups that are read
// from here on.
Status SqlStore::TakeHostsRow() {
  if (!postgres_) return {};
  sql_ << fmt::format(
      "INSERT INTO desks (run, desk, node, seen) VALUES (:run, 0, '', {0}) "
      "ON CONFLICT (run, desk) DO UPDATE SET closed = 0, seen = {0}",
      kDatabaseClock),
      soci::use(run_);
  soci::transaction all(sql_);
  Note("delegated WHERE run = :run AND state = 2");
  sql_ << "DELETE FROM delegated WHERE run = :run AND state = 2", soci::use(run_);
  all.commit();
  return {};
}

// Leases of these rows, as groups that arrive now.
void SqlStore::Note(const std::string& which) {
  soci::statement insert =
      (sql_.prepare << "INSERT INTO noted (run, number, lease) SELECT run, :base + row_number() "
                       "OVER (ORDER BY lease), lease FROM " +
                           which,
       soci::use(ended_), soci::use(run_));
  insert.execute(true);
  ended_ += insert.get_affected_rows();
}

long long SqlStore::Commits() {
  long long commits = 0;
  if (postgres_)
    sql_ << "SELECT commits FROM desks WHERE run = :run AND desk = :desk", soci::use(run_),
        soci::use(desk_), soci::into(commits);
  return commits;
}

Status SqlStore::Write(const DeskEntry& entry) {
  if (!postgres_) return {};  // nobody to tell
  if (const auto* delegated = std::get_if<LeaseDelegated>(&entry)) {
    desk_rows_->delegate.Write(*delegated);
  } else if (const auto* ended = std::get_if<DelegationEnded>(&entry)) {
    desk_rows_->end.Write(ended->lease);
    if (ended->accepted) desk_rows_->note.Write(++ended_, ended->lease);
  } else if (const auto* wanted = std::get_if<LeasesWantedBack>(&entry)) {
    const int flag = wanted->wanted ? 1 : 0;
    const long long desk = AsRow(wanted->desk.value);
    sql_ << "UPDATE desks SET wanted_back = :flag WHERE run = :run AND desk = :desk",
        soci::use(flag), soci::use(run_), soci::use(desk);
  } else if (const auto* told = std::get_if<PolicyTold>(&entry)) {
    const long long version = AsRow(told->version.value);
    const std::string manifest = ToHexOrNothing(told->update);
    const std::string snapshot = ToHexOrNothing(told->snapshot);
    sql_ << "INSERT INTO announcements (run, version, manifest, snapshot) "
            "VALUES (:run, :version, :manifest, :snapshot) ON CONFLICT (run, version) "
            "DO UPDATE SET manifest = excluded.manifest, snapshot = excluded.snapshot",
        soci::use(run_), soci::use(version), soci::use(manifest), soci::use(snapshot);
  } else {
    return desk_rows_->answer.Write(std::get<LeaseHandedBack>(entry).lease,
                                    DelegationState::kHandedBack);
  }
  return {};
}

// Desks first: what a desk that is closed by then had answered is all there.
Result<DeskNews> SqlStore::News() {
  DeskNews news;
  if (!postgres_) return news;
  WG_TRY(Again("reading what desks did", [&]() -> Status {
    news = {};
    if (!host_polls_) host_polls_.emplace(sql_, run_);
    WG_TRY(ReadOpenDesks(news.open));
    return ReadReturns(news.returns);
  }));
  return news;
}

Status SqlStore::ReadOpenDesks(std::vector<DeskSeen>& open) {
  HostPolls& row = *host_polls_;
  row.open.execute();
  while (row.open.fetch()) {
    WG_ASSIGN(const NodeId id, ParseNodeId(row.node));
    open.push_back({.desk = DeskId{FromRow(row.desk)},
                    .node = id,
                    .target = static_cast<std::uint32_t>(std::clamp(row.target, 0LL, 1LL << 30)),
                    .silent_ms = FromRow(std::max(row.silent, 0LL))});
  }
  return {};
}

Status SqlStore::ReadReturns(std::vector<DeskReturn>& returns) {
  HostPolls& row = *host_polls_;
  row.returns.execute();
  while (row.returns.fetch()) {
    DeskReturn one{
        .desk = DeskId{FromRow(row.desk)}, .lease = LeaseId{FromRow(row.lease)}, .accepted = {}};
    if (row.state == static_cast<int>(DelegationState::kAnswered)) {
      if (row.has_terms != soci::i_ok || row.has_rollouts != soci::i_ok)
        return Fail(Blame::kMachine, "lease {:x} was answered and its group is not there",
                    one.lease.value);
      WG_ASSIGN(Lease lease, LeaseFrom(row.terms));
      WG_ASSIGN(const Bytes bytes, FromBase64(row.rollouts));
      WG_ASSIGN(Group group, DecodeGroup(bytes));
      one.accepted = GroupRecord{std::move(lease), std::move(group)};
    }
    returns.push_back(std::move(one));
  }
  return {};
}

Result<std::vector<LeaseDelegated>> SqlStore::Delegations() {
  std::vector<LeaseDelegated> all;
  if (!postgres_) return all;
  WG_TRY(Again("reading delegations", [&]() -> Status {
    all.clear();
    long long desk = 0;
    std::string terms;
    soci::statement select =
        (sql_.prepare << "SELECT desk, terms FROM delegated WHERE run = :run ORDER BY lease",
         soci::use(run_), soci::into(desk), soci::into(terms));
    select.execute();
    while (select.fetch()) {
      WG_ASSIGN(Lease lease, LeaseFrom(terms));
      all.push_back({DeskId{FromRow(desk)}, std::move(lease)});
    }
    return {};
  }));
  return all;
}

// As expired, with numbers of ours.
void SqlStore::EndGrantsOf(const std::string& whose, const std::string& why) {
  const int outcome = static_cast<int>(Outcome::kExpired);
  soci::statement update =
      (sql_.prepare << fmt::format(
           "UPDATE grants SET ended = :base + n.place, outcome = :outcome, detail = :why FROM "
           "(SELECT number AS open_number, row_number() OVER (ORDER BY number) AS place FROM "
           "grants WHERE run = :run AND {} AND ended IS NULL) n "
           "WHERE run = :run_again AND number = n.open_number",
           whose),
       soci::use(ended_), soci::use(outcome), soci::use(why), soci::use(run_), soci::use(run_));
  update.execute(true);
  ended_ += update.get_affected_rows();
}

Result<bool> SqlStore::CloseDesk(DeskId desk, std::uint64_t silent_ms) {
  if (!postgres_) return false;
  return Again("closing a desk", [&]() -> Result<bool> {
    soci::transaction all(sql_);
    const long long id = AsRow(desk.value), least = AsRow(silent_ms);
    soci::statement close =
        (sql_.prepare << fmt::format("UPDATE desks SET closed = 1 WHERE run = :run AND desk = "
                                     ":desk AND closed = 0 AND {} >= :least",
                                     kSilence),
         soci::use(run_), soci::use(id), soci::use(least));
    close.execute(true);
    if (close.get_affected_rows() != 1) return false;
    EndGrantsOf(fmt::format("desk = {}", id),
                id == desk_ ? "its desk has left" : "its desk was silent for too long");
    all.commit();
    return true;
  });
}

Status SqlStore::ConnectDesk(const NodeId& node) {
  if (!postgres_)
    return Fail(Blame::kOperator, "a desk shares a PostgreSQL with the host: postgresql://...");
  return Guarded("opening", [&]() -> Status {
    Dial();
    WG_TRY(CheckSchema());
    return Register(node);
  });
}

Status SqlStore::Register(const NodeId& node) {
  Status why;
  for (int attempt = 0; attempt < kRegisterAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kReconnectPause);
    const auto done = Guarded("registering", [&] { return TryRegister(node); });
    if (done && *done) return {};
    why = done ? Fail(Blame::kMachine, "this desk is closed again and again")
               : Status(Forward(done.error()));
  }
  return why;
}

// False: closed meanwhile. A connection of this desk that was killed may hold its lock for a moment
// more, and two desks may try the same number.
Result<bool> SqlStore::TryRegister(const NodeId& node) {
  int hosts = 0;
  sql_ << "SELECT count(*) FROM desks WHERE run = :run AND desk = 0", soci::use(run_),
      soci::into(hosts);
  if (hosts == 0)
    return Fail(Blame::kOperator, "no host of run {}... keeps its records in this database",
                run_.substr(0, 12));
  const std::string name = ToText(node);
  soci::indicator found = soci::i_null;
  sql_ << "SELECT max(desk) FROM desks WHERE run = :run AND node = :node AND desk > 0 "
          "AND closed = 0",
      soci::use(run_), soci::use(name), soci::into(desk_, found);
  if (found == soci::i_null) {
    sql_ << "SELECT max(desk) + 1 FROM desks WHERE run = :run", soci::use(run_), soci::into(desk_);
    sql_ << fmt::format("INSERT INTO desks (run, desk, node, seen) VALUES (:run, :desk, :node, {})",
                        kDatabaseClock),
        soci::use(run_), soci::use(desk_), soci::use(name);
  }
  WG_TRY(BecomeWriter());
  ClaimRow claim(sql_, run_, desk_);
  if (!claim.Write()) return false;
  Recount();
  return true;
}

Status SqlStore::Leave() {
  const auto left = CloseDesk(id(), 0);
  if (!left) return Forward(left.error());
  return *left ? Status{} : Closed();
}

Result<HostNews> SqlStore::Sync(std::uint32_t target, std::optional<PolicyVersion> known) {
  HostNews news;
  WG_TRY(Again("hearing of the host", [&]() -> Status {
    news = {};
    if (!desk_polls_) desk_polls_.emplace(sql_, run_, desk_);
    if (!taken_ || target != told_target_ || ++silent_syncs_ >= kSyncsPerBeat) WG_TRY(Beat(target));
    DeskPolls& row = *desk_polls_;
    row.look.execute(true);
    if (row.closed != 0) return Closed();
    news.wanted_back = row.wanted != 0;
    news.over = row.over != 0;
    WG_TRY(ReadPolicies(known, news.policies));
    return TakeLeases(news.leases);
  }));
  return news;
}

Status SqlStore::Beat(std::uint32_t target) {
  desk_polls_->target = target;
  desk_polls_->beat.execute();
  bool alive = false;
  while (desk_polls_->beat.fetch()) alive = true;
  if (!alive) return Closed();
  told_target_ = target;
  silent_syncs_ = 0;
  return {};
}

// They are addressed: nobody else wants these rows, so there is no lock to skip.
Status SqlStore::TakeLeases(std::vector<Lease>& leases) {
  soci::statement& take = taken_ ? desk_polls_->take : desk_polls_->take_all;
  take.execute();
  while (take.fetch()) {
    WG_ASSIGN(Lease lease, LeaseFrom(desk_polls_->terms));
    leases.push_back(std::move(lease));
  }
  taken_ = true;
  std::sort(leases.begin(), leases.end(),
            [](const Lease& a, const Lease& b) { return a.id < b.id; });
  return {};
}

Status SqlStore::ReadPolicies(std::optional<PolicyVersion> known,
                              std::vector<PolicyTold>& policies) {
  DeskPolls& row = *desk_polls_;
  row.after = known ? AsRow(known->value) : -1;
  row.policies.execute();
  while (row.policies.fetch()) {
    WG_ASSIGN(auto update, HashFrom(row.manifest));
    WG_ASSIGN(auto from_nothing, HashFrom(row.snapshot));
    policies.push_back({PolicyVersion{FromRow(row.version)}, update, from_nothing});
  }
  return {};
}

Result<std::unique_ptr<DeskStore>> DeskStore::Open(const std::string& where, const Hash256& run,
                                                   const NodeId& node) {
  auto store = std::make_unique<SqlStore>(where, ToHex(run));
  WG_TRY(store->ConnectDesk(node));
  return std::unique_ptr<DeskStore>(std::move(store));
}

}  // namespace waggle
