// Both sides of a store, over one connection. This folder's own.
#pragma once

#include <chrono>
#include <optional>
#include <thread>

#include "store/desk_store.h"
#include "store/sql_rows.h"

namespace waggle {

constexpr int kReconnects = 60;
constexpr std::chrono::milliseconds kReconnectPause{500};

class SqlStore final : public RunStore, public DeskStore {
 public:
  SqlStore(std::string where, std::string run);

  Status Connect(Access access);
  Status ConnectDesk(const NodeId& node);
  Status Commit(const StoreBatch& batch) override;
  Result<std::vector<GroupRecord>> Groups(std::uint64_t first, std::uint64_t end) override;
  Result<std::vector<GroupRecord>> Evaluations(std::uint64_t first, std::uint64_t end) override;
  Result<std::vector<GroupRecord>> Arrived(std::uint64_t first, std::uint64_t count) override;
  Result<std::optional<GroupRecord>> GroupOf(LeaseId lease) override;
  Result<std::vector<OpenGrant>> OpenGrants() override;
  Result<Counts> Count() override;
  Result<std::vector<Ended>> Outcomes(std::uint64_t after, std::uint32_t rows_max) override;
  Status CopyTo(const std::string& where) override;
  bool takes_desks() const override { return postgres_; }
  Result<DeskNews> News() override;
  Result<std::vector<LeaseDelegated>> Delegations() override;
  Result<bool> CloseDesk(DeskId desk, std::uint64_t silent_ms) override;

  DeskId id() const override { return DeskId{FromRow(desk_)}; }
  bool closed() const override { return closed_; }
  Result<HostNews> Sync(std::uint32_t target, std::optional<PolicyVersion> known) override;
  Status Leave() override;

 private:
  void Dial();
  void Settle();  // what a connection to PostgreSQL begins with
  Status Reconnect();
  void ForgetStatements();
  Status Migrate();
  Status CheckSchema();
  Status BecomeWriter();
  Status CheckAlone();
  Status TakeHostsRow();
  Status Register(const NodeId& node);
  Result<bool> TryRegister(const NodeId& node);
  Status Write(const StoreBatch& batch);
  Status Write(const DeskEntry& entry);
  Status Select(const char* query, long long one, long long two, std::vector<GroupRecord>& records);
  long long Newest(const char* column);
  void Recount();
  long long Commits();
  Status CopyRows(soci::session& to);
  Status Beat(std::uint32_t target);
  Status TakeLeases(std::vector<Lease>& leases);
  Status ReadPolicies(std::optional<PolicyVersion> known, std::vector<PolicyTold>& policies);
  Status ReadReturns(std::vector<DeskReturn>& returns);
  Status ReadOpenDesks(std::vector<DeskSeen>& open);
  void Note(const std::string& which);
  void EndGrantsOf(const std::string& whose, const std::string& why);
  Status Closed();
  // Does `work` again after the connection broke and came back.
  template <class F>
  auto Again(const char* doing, F&& work) -> decltype(work()) {
    auto done = Guarded(doing, work);
    if (!done) ForgetStatements();
    for (int i = 0; !done && !closed_ && !sql_.is_connected() && i < kReconnects; ++i) {
      std::this_thread::sleep_for(kReconnectPause);
      if (Reconnect()) done = Guarded(doing, work);
    }
    return done;
  }

  const std::string where_, run_;
  const bool postgres_;
  long long desk_ = 0;  // whose rows are written; 0: the host's
  bool closed_ = false;
  soci::session sql_;
  std::optional<Rows> rows_;           // of the connection that sql_ has
  std::optional<DeskRows> desk_rows_;  // the same, PostgreSQL only
  std::optional<HostPolls> host_polls_;
  std::optional<DeskPolls> desk_polls_;
  long long granted_ = 0, ended_ = 0;  // numbers given so far, by this writer
  long long commits_ = 0;              // of this writer
  // A desk's.
  bool taken_ = false;  // what it held before this connection is told
  std::uint32_t told_target_ = 0;
  int silent_syncs_ = 0;  // since the last sign of life
};

}  // namespace waggle
