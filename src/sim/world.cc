#include "sim/world.h"

#include <array>
#include <cstring>

#include "sim/cheap_signer.h"

namespace waggle {
namespace {

constexpr std::uint64_t kEventsBetweenProgress = 1 << 16;

class World final : public NetworkUser {
 public:
  World(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
        const SimOptions& options);

  SimResult Run();

  void HostOpened(LinkId link) override;
  void HostHeard(LinkId link, Bytes bytes) override;
  void HostClosed(LinkId link) override;
  void PeerUp(PeerIndex peer, LinkId link) override;
  void PeerHeard(PeerIndex peer, LinkId link, Bytes bytes) override;
  void PeerDown(PeerIndex peer, LinkId link, const std::string& why) override;

 private:
  void Note(std::uint8_t kind, std::uint64_t who, std::span<const std::uint8_t> bytes = {});
  std::unique_ptr<Signer> MakeKey(std::uint64_t number) const;
  void AddWorker(std::uint32_t index, bool takes_part, const Schedule& schedule);
  PeerIndex AddStranger(std::uint32_t address, std::unique_ptr<SimPeer> (*make)(World&, PeerIndex));
  void Plan(const SimFault& fault);
  void OnHost(const SimFault& fault, bool begins);
  void OnWorker(const SimFault& fault, std::uint32_t index, bool begins);
  void OnLine(const SimFault& fault, std::uint32_t index, bool begins);
  void OnStrangers(const SimFault& fault);
  void Again(const SimFault& fault, Micros until);
  void Each(std::uint32_t target, const std::function<void(std::uint32_t)>& act);
  bool EverybodyLeft() const;
  void CheckGoodbye();
  SimResult Sum() const;

  const Scenario& scenario_;
  const std::uint64_t seed_;
  const SimOptions& options_;
  EventQueue queue_;
  const Site site_;
  std::optional<Undisturbed> undisturbed_;
  Promises ledger_;
  Shelf shelf_;
  SimNetwork network_;
  SimParts parts_;
  std::unique_ptr<Signer> host_key_;
  std::optional<SimHost> host_;
  std::vector<std::unique_ptr<Signer>> keys_;
  std::vector<std::unique_ptr<SimPeer>> peers_;  // by PeerIndex; null: takes no part
  std::vector<SimWorker*> workers_;              // by index; null: takes no part
  std::uint32_t disks_full_ = 0, addresses_ = 0;
  std::uint64_t digest_ = 0;
  bool goodbye_checked_ = false;
  Rng rng_;  // of what faults leave open
};

World::World(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
             const SimOptions& options)
    : scenario_(scenario),
      seed_(seed),
      options_(options),
      site_(scenario, seed),
      ledger_(site_),
      network_(scenario.network, seed, queue_, *this),
      parts_{scenario, seed, options.plant, queue_, network_, site_, ledger_, shelf_, {}},
      rng_(seed, /*stream=*/0xfa17) {
  if (scenario.run.ahead == 0) undisturbed_ = RunUndisturbed(site_);
  if (options.plant == Plant::kLoseFrames) network_.LoseSilently(50);
  host_key_ = MakeKey(0);
  host_.emplace(parts_, *host_key_, undisturbed_ ? &*undisturbed_ : nullptr);
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < scenario.crowd.workers; ++i) {
    const bool takes_part = at < schedule.workers.size() && schedule.workers[at] == i;
    at += takes_part ? 1 : 0;
    AddWorker(i, takes_part, schedule);
  }
  queue_.After(0, [this] { host_->Boot(); });
  for (const SimFault& fault : schedule.faults) Plan(fault);
}

std::unique_ptr<Signer> World::MakeKey(std::uint64_t number) const {
  if (scenario_.crowd.signatures == "cheap") return std::make_unique<CheapSigner>(number);
  std::array<std::uint8_t, 32> seed{};
  std::memcpy(seed.data(), &seed_, 8);
  std::memcpy(seed.data() + 8, &number, 8);
  return std::make_unique<KeyPair>(KeyPair::FromSeed(seed));
}

void World::AddWorker(std::uint32_t index, bool takes_part, const Schedule& schedule) {
  const PeerIndex peer = network_.AddPeer(addresses_++);
  const CrowdSettings& crowd = scenario_.crowd;
  Rng own(seed_, 0x20000000u + index);  // dropping one worker changes nothing for the others
  const auto spread =
      own.Between(-static_cast<std::int64_t>(crowd.spread_percent), crowd.spread_percent);
  const Micros start = own.Below(crowd.start_ms + 1) * kMilli;
  peers_.emplace_back();
  workers_.push_back(nullptr);
  parts_.nodes.push_back(nullptr);
  if (!takes_part) return;
  keys_.push_back(MakeKey(1 + peer));
  const auto speed = static_cast<std::uint32_t>(crowd.tokens_per_second * (100 + spread) / 100);
  auto worker = std::make_unique<SimWorker>(parts_, peer, *keys_.back(), speed);
  ledger_.AddHonest(worker->node());
  parts_.nodes.back() = &worker->node();
  workers_.back() = worker.get();
  peers_.back() = std::move(worker);
  const auto late = [&](const SimFault& fault) {
    return fault.kind == FaultKind::kLate &&
           (fault.target == index || fault.target == SimFault::kAll);
  };
  if (std::none_of(schedule.faults.begin(), schedule.faults.end(), late))
    queue_.After(start, [this, index] { workers_[index]->Boot(); });
}

// The trace. A frame's last bytes are a signature over all that is before them.
void World::Note(std::uint8_t kind, std::uint64_t who, std::span<const std::uint8_t> bytes) {
  const std::uint64_t head[3] = {queue_.now(), std::uint64_t{kind} << 56 | bytes.size(), who};
  digest_ = QuickHash(digest_, {reinterpret_cast<const std::uint8_t*>(head), sizeof head});
  if (!bytes.empty())
    digest_ = QuickHash(digest_, bytes.last(std::min<std::size_t>(16, bytes.size())));
}

void World::HostOpened(LinkId link) {
  Note(1, link.value);
  host_->Opened(link);
}
void World::HostHeard(LinkId link, Bytes bytes) {
  Note(2, link.value, bytes);
  host_->Heard(link, std::move(bytes));
}
void World::HostClosed(LinkId link) {
  Note(3, link.value);
  host_->Closed(link);
}
void World::PeerUp(PeerIndex peer, LinkId link) {
  Note(4, link.value);
  peers_[peer]->Up(link);
}
void World::PeerHeard(PeerIndex peer, LinkId link, Bytes bytes) {
  Note(5, link.value, bytes);
  peers_[peer]->Heard(link, std::move(bytes));
}
void World::PeerDown(PeerIndex peer, LinkId link, const std::string& why) {
  Note(6, link.value);
  peers_[peer]->Down(link, why);
}

// Workers that take no part are passed over.
void World::Each(std::uint32_t target, const std::function<void(std::uint32_t)>& act) {
  if (target == SimFault::kAll) {
    for (std::uint32_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i] != nullptr) act(i);
    }
  } else if (target < workers_.size() && workers_[target] != nullptr) {
    act(target);
  }
}

void World::Plan(const SimFault& fault) {
  const auto act = [this, fault](bool begins) {
    Note(begins ? 7 : 8, static_cast<std::uint64_t>(fault.kind));
    if (fault.target == SimFault::kHost || fault.target == SimFault::kNobody) {
      OnHost(fault, begins);
      if (begins) OnStrangers(fault);
      return;
    }
    Each(fault.target, [&](std::uint32_t index) {
      OnWorker(fault, index, begins);
      OnLine(fault, index, begins);
    });
  };
  queue_.At(fault.at, [act] { act(true); });
  if (fault.lasts > 0) queue_.At(fault.at + fault.lasts, [act] { act(false); });
  if (fault.every > 0) queue_.At(fault.at, [this, fault] { Again(fault, fault.at + fault.lasts); });
}

// What happens again and again while the fault lasts.
void World::Again(const SimFault& fault, Micros until) {
  if (queue_.now() > until) return;
  Each(fault.target, [&](std::uint32_t index) {
    SimWorker& worker = *workers_[index];
    if (fault.kind == FaultKind::kCrashLoop) {
      worker.Kill();
      queue_.After(fault.every / 4, [&worker] { worker.Boot(); });
    } else if (fault.kind == FaultKind::kFlap) {
      if (worker.link()) network_.Break(*worker.link(), rng_.Below(2) == 0);
    } else if (fault.kind == FaultKind::kNoise) {
      Bytes bytes(rng_.Below(400));
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(rng_.NextU32());
      worker.Noise(std::move(bytes));
    }
  });
  queue_.After(fault.every, [this, fault, until] { Again(fault, until); });
}

void World::OnHost(const SimFault& fault, bool begins) {
  switch (fault.kind) {
    case FaultKind::kTorn:
      if (begins) host_->disk.TearNewest();
      [[fallthrough]];
    case FaultKind::kKill:
      if (!begins) return host_->Boot();
      host_->Kill(/*keeps=*/rng_.Below(2) == 0);
      // Somebody starts it again, sooner or later.
      if (fault.lasts == 0)
        queue_.After(scenario_.host.restart_ms * kMilli, [this] { host_->Boot(); });
      return;
    case FaultKind::kDiskFull:
      disks_full_ += begins ? 1 : -1;
      host_->disk.full = disks_full_ > 0;
      return;
    case FaultKind::kDiskError:
      if (begins) ++host_->disk.fail_next;
      return;
    case FaultKind::kCrashWrite:
      if (begins) host_->die_while_writing = true;
      return;
    case FaultKind::kClockJump:
      if (begins) host_->clock.wall_ms += fault.amount * 1000;
      return;
    case FaultKind::kSkew:
      if (begins) host_->clock.ppm = fault.amount;
      return;
    default:
      return;
  }
}

void World::OnWorker(const SimFault& fault, std::uint32_t index, bool begins) {
  SimWorker& worker = *workers_[index];
  switch (fault.kind) {
    case FaultKind::kKill:
      return begins ? worker.Kill() : worker.Boot();
    case FaultKind::kCrashLoop:
      if (!begins) worker.Boot();
      return;
    case FaultKind::kSlow:
      worker.slow_times = begins ? static_cast<std::uint32_t>(fault.amount) : 1;
      return;
    case FaultKind::kClockJump:
      if (begins) worker.clock.wall_ms += fault.amount * 1000;
      return;
    case FaultKind::kSkew:
      if (begins) worker.clock.ppm = fault.amount;
      return;
    case FaultKind::kLie:
      ledger_.NoLongerHonest(worker.node());
      worker.lie = begins ? fault.how : "";
      if (fault.how != "prompt") return;
      worker.Kill();  // another program runs there
      return worker.Boot();
    case FaultKind::kRepeat:
      ledger_.NoLongerHonest(worker.node());
      worker.repeats = begins;
      return;
    case FaultKind::kNoise:
      ledger_.NoLongerHonest(worker.node());
      return;
    case FaultKind::kForge:
      worker.forged_fetches = begins;
      return;
    case FaultKind::kLate:
      if (begins) worker.Boot();
      return;
    case FaultKind::kLeave:
      if (begins) worker.Leave();
      return;
    default:
      return;
  }
}

void World::OnLine(const SimFault& fault, std::uint32_t index, bool begins) {
  SimNetwork::Line& line = network_.line(index);
  const std::optional<LinkId> link = workers_[index]->link();
  switch (fault.kind) {
    case FaultKind::kCut:
      if (!begins) return;
      line.cut_until = std::max(line.cut_until, fault.at + fault.lasts);
      if (link) network_.Break(*link, rng_.Below(2) == 0);
      return;
    case FaultKind::kHalfCut:
      if (begins && link) network_.Break(*link, /*host_is_told=*/false);
      return;
    case FaultKind::kStall:
      if (begins) line.stalled_until = std::max(line.stalled_until, fault.at + fault.lasts);
      return;
    case FaultKind::kLag: {
      const Micros lag = static_cast<Micros>(fault.amount) * kMilli;
      line.lag = begins ? line.lag + lag : line.lag - lag;
      return;
    }
    default:
      return;
  }
}

PeerIndex World::AddStranger(std::uint32_t address,
                             std::unique_ptr<SimPeer> (*make)(World&, PeerIndex)) {
  const PeerIndex peer = network_.AddPeer(address);
  parts_.nodes.push_back(nullptr);
  peers_.push_back(make(*this, peer));
  return peer;
}

void World::OnStrangers(const SimFault& fault) {
  constexpr std::uint32_t kPerAddress = 8;
  std::unique_ptr<SimPeer> (*make)(World&, PeerIndex) = nullptr;
  const bool flood = fault.kind == FaultKind::kFlood;
  if (fault.kind == FaultKind::kSilent) {
    make = [](World& world, PeerIndex peer) -> std::unique_ptr<SimPeer> {
      return std::make_unique<SilentStranger>(world.parts_, peer);
    };
  } else if (fault.kind == FaultKind::kRogue) {
    make = [](World& world, PeerIndex peer) -> std::unique_ptr<SimPeer> {
      world.keys_.push_back(world.MakeKey(1 + peer));
      return std::make_unique<Rogue>(world.parts_, peer, *world.keys_.back());
    };
  } else if (flood) {
    make = [](World& world, PeerIndex peer) -> std::unique_ptr<SimPeer> {
      world.keys_.push_back(world.MakeKey(1 + peer));
      auto newcomer = std::make_unique<SimWorker>(world.parts_, peer, *world.keys_.back(), 1);
      newcomer->idler = true;
      return newcomer;
    };
  } else {
    return;
  }
  for (std::int64_t i = 0; i < fault.amount; ++i) {
    if (i % kPerAddress == 0) ++addresses_;
    const PeerIndex peer = AddStranger(addresses_ - 1, make);
    const Micros start = flood && fault.lasts > 0
                             ? rng_.Below(static_cast<std::uint32_t>(fault.lasts / kMilli)) * kMilli
                             : 0;
    const Micros stay = flood ? (500 + rng_.Below(5'000)) * kMilli : fault.lasts;
    queue_.After(start, [this, peer] { peers_[peer]->Boot(); });
    if (stay > 0) queue_.After(start + stay, [this, peer] { peers_[peer]->Kill(); });
  }
}

bool World::EverybodyLeft() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const SimWorker* worker) { return worker == nullptr || !worker->alive(); });
}

// Once the host's process has ended: who had a line to it was told.
void World::CheckGoodbye() {
  goodbye_checked_ = true;
  constexpr Micros kAWhile = 5 * kSecond;
  const Micros now = queue_.now();
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    const SimWorker* worker = workers_[i];
    if (worker == nullptr || !worker->alive() || !worker->link()) continue;
    const SimNetwork::Line& line = network_.line(i);
    const bool fine = line.lag < kSecond && now > line.stalled_until + kAWhile &&
                      now > worker->linked_at() + kAWhile;
    if (fine && network_.PeerEndOpen(*worker->link()))
      ledger_.Break(fmt::format("worker {} was not told that the run is over", i));
  }
}

SimResult World::Run() {
  const Micros limit = scenario_.limit_minutes * 60 * kSecond;
  while (!queue_.empty() && !ledger_.broken() && queue_.now() < limit) {
    queue_.Step();
    if (options_.progress && queue_.done() % kEventsBetweenProgress == 0)
      options_.progress(queue_.now(), host_->version());
    if (!host_->done()) continue;
    if (!goodbye_checked_) CheckGoodbye();
    if (EverybodyLeft()) break;
  }
  if (!host_->done())
    ledger_.Break(fmt::format(
        "the run is not over after {} virtual minutes, at version {} of {}: {}",
        scenario_.limit_minutes, host_->version().value, scenario_.run.steps, host_->State()));
  if (!EverybodyLeft()) ledger_.Break("the run is over and a worker stays");
  return Sum();
}

SimResult World::Sum() const {
  SimResult result;
  result.broken = ledger_.broken().value_or("");
  result.digest = digest_;
  result.events = queue_.done();
  result.ended = queue_.now();
  result.broken_at = result.broken.empty() ? 0 : queue_.now();
  result.host = host_->stats();
  result.finished = result.host.finished.value_or(0);
  result.ledger = ledger_.stats();
  result.network = network_.stats();
  Micros lived = 0, busy = 0;
  for (const SimWorker* worker : workers_) {
    result.accepted_by_worker.push_back(worker == nullptr ? 0 : worker->accepted());
    if (worker == nullptr) continue;
    lived += worker->times().lived;
    busy += std::min(worker->times().busy, worker->times().lived);
  }
  const auto idle = [](Micros worked, Micros all) {
    return all == 0 ? 0 : 1 - static_cast<double>(worked) / static_cast<double>(all);
  };
  result.worker_idle = idle(busy, lived);
  result.trainer_idle = idle(result.host.training, std::max<Micros>(1, result.host.lived));
  return result;
}

}  // namespace

SimResult Simulate(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
                   const SimOptions& options) {
  return World(scenario, seed, schedule, options).Run();
}

}  // namespace waggle
