// A host and its workers in one process: their cores, real engines, a real trainer and a real
// store, with virtual time and lines that delay and break.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <map>

#include "base/hex.h"
#include "engine/engine.h"
#include "host/host_core.h"
#include "host/test_run.h"
#include "roles/join_core.h"
#include "run/train_thread.h"

namespace waggle {

struct Frame {
  Milliseconds at = 0;
  Bytes bytes;
};

// One volunteer's machine.
struct Volunteer {
  KeyPair key = KeyPair::Generate();
  std::unique_ptr<Engine> engine;
  std::optional<JoinCore> core;
  Milliseconds delay = 20;     // of the line, one way
  Milliseconds period = 10;    // between engine steps: how slow the machine is
  std::optional<LinkId> link;  // while the line holds
  std::deque<Frame> to_host, to_us;
  std::optional<std::pair<Milliseconds, PolicyVersion>> fetching;
  std::optional<std::uint64_t> loaded;  // policy version
  float lie = 0.0f;                     // that its log-probs are off by
  bool dead = false, left = false;
  std::string why;  // it left
};

class TestSwarm {
 public:
  // leases: everything is quick here.
  TestSwarm(const Recipe& recipe, const std::filesystem::path& root, const std::string& name,
            const LeaseBookSettings& leases = {.deadline_ms_min = 1'000,
                                               .deadline_ms_max = 4'000,
                                               .silence_ms_max = 6'000})
      : root_(root),
        name_(name),
        leases_(leases),
        run_(RunParts::Open(recipe, Options(), SystemClock()).value()) {
    OpenHost();
  }

  // The host's process is killed, and comes back from its newest checkpoint and its store.
  // meanwhile: what happens to its folder.
  void KillHost(const std::function<void()>& meanwhile = [] {}) {
    for (Volunteer& v : volunteers_) Cut(v);
    host_.reset();
    store_.reset();
    killed_.push_back(std::move(run_));  // volunteers borrow its codec
    killed_.back()->lock = {};
    meanwhile();
    run_ = RunParts::Resume(Options(), SystemClock()).value();
    OpenHost();
  }

  // Once, as soon as the clock is there. Takes the weather's place.
  void KillHostAt(
      Milliseconds when, const std::function<void()>& meanwhile = [] {}) {
    weather = [this, when, meanwhile](Volunteer&, Milliseconds now) {
      if (now >= when && !host_was_killed()) KillHost(meanwhile);
    };
  }
  bool host_was_killed() const { return !killed_.empty(); }

  Volunteer& Add(Milliseconds delay, Milliseconds period) {
    Volunteer& v = volunteers_.emplace_back();
    v.delay = delay;
    v.period = period;
    EngineConfig config;
    config.kv_bytes = std::size_t{8} << 20;
    v.engine =
        std::make_unique<Engine>(models_.begin()->second, PolicyVersion{0}, config, run_->pool);
    const JoinSettings settings{
        .software = "test", .environment = "reverse", .rollouts_max = 8, .response_tokens_max = 64};
    v.core.emplace(v.key, run_->run_id, host_key_.id(), settings, *run_->codec,
                   [this] { return Nonce(); });
    return v;
  }

  // What the line does on top of its delay: called for each volunteer at each tick.
  std::function<void(Volunteer&, Milliseconds now)> weather = [](Volunteer&, Milliseconds) {};

  std::string Run(Milliseconds limit = 600'000) {
    for (now_ = 0; !finished_ && now_ < limit; now_ += 10) {
      Host(HostTick{});
      for (Volunteer& v : volunteers_) {
        weather(v, now_);
        if (!v.dead) Live(v);
      }
    }
    if (!finished_) return "not finished after " + std::to_string(limit) + " ms";
    return ToHex(run_->trainer->StateHash());
  }

  void Cut(Volunteer& v) {
    if (!v.link) return;
    const LinkId link = *v.link;
    v.link.reset();
    v.to_host.clear();
    v.to_us.clear();
    if (!v.dead) Join(v, LinkDown{"cut"});
    Host(LinkClosed{link});
  }

  void Drain(Volunteer& v) { Join(v, DrainWanted{}); }
  void DrainByHost(Volunteer& v) { Host(DrainNode{v.key.id()}); }
  void DrainHost(Milliseconds finish_ms = 60'000) { Host(DrainRun{finish_ms}); }
  bool drained() const { return drained_; }
  std::uint64_t saved_version() const { return run_->saved_version.value; }
  std::uint64_t version() const { return run_->conduct->version().value; }

  Milliseconds elapsed() const { return now_; }
  std::map<Outcome, int> outcomes;
  std::map<std::uint64_t, int> grants;  // by lease
  int closed_by_host = 0;
  std::vector<LeaseId> forged;  // groups that the trainer left out
  std::deque<Volunteer>& volunteers() { return volunteers_; }
  RunStore& store() { return *store_; }
  std::filesystem::path folder() const { return root_ / name_; }

 private:
  static Hash256 ManifestOf(std::uint64_t version) {
    Hash256 hash{};
    hash[0] = static_cast<std::uint8_t>(version + 1);
    return hash;
  }
  static Hash256 SnapshotOf(std::uint64_t version) {
    Hash256 hash = ManifestOf(version);
    hash[1] = 1;
    return hash;
  }
  RunOptions Options() const { return SmallRunOptions(root_, name_); }
  void OpenHost() {
    const std::uint64_t version = run_->conduct->version().value;
    models_[version] = run_->trainer->WorkingModel().value();
    HostSettings settings{.software = "test"};
    settings.leases = leases_;
    store_ =
        RunStore::Open(run_->folder.StorePlace().value(), run_->run_id, RunStore::Access::kWrite)
            .value();
    host_.emplace(host_key_, run_->run_id, settings, std::move(*run_->orchestrator),
                  SnapshotOf(version), [this] { return Nonce(); });
    ASSERT_TRUE(host_->Remember(store_->Groups(version, ~std::uint32_t{0}).value()));
    Host(HostRestarted{store_->OpenGrants().value()});
  }
  SessionNonce Nonce() {
    SessionNonce nonce{};
    ++nonces_;
    for (std::size_t i = 0; i < 8; ++i) nonce[i] = static_cast<std::uint8_t>(nonces_ >> (8 * i));
    return nonce;
  }

  void Live(Volunteer& v) {
    if (v.fetching && v.fetching->first <= now_) {
      const PolicyVersion version = v.fetching->second;
      v.fetching.reset();
      v.engine->Swap(models_.at(version.value), version, SwapPolicy::kFinish);
      v.loaded = version.value;
      Join(v, PolicyLoaded{version});
    }
    while (!v.to_host.empty() && v.to_host.front().at <= now_) {
      Frame frame = std::move(v.to_host.front());
      v.to_host.pop_front();
      if (v.link) Host(FrameCame{*v.link, std::move(frame.bytes)});
    }
    while (!v.to_us.empty() && v.to_us.front().at <= now_) {
      Frame frame = std::move(v.to_us.front());
      v.to_us.pop_front();
      Join(v, FrameHeard{std::move(frame.bytes)});
    }
    if (now_ % v.period == 0 && !v.engine->idle()) {
      TokensSampled sampled{v.engine->Step()};
      for (TokenEvent& token : sampled.tokens) token.logp -= v.lie;
      Join(v, sampled);
    }
    if (!v.left) Join(v, JoinTick{100});
  }

  void Join(Volunteer& v, const JoinEvent& event) {
    for (JoinEffect& effect : v.core->Step(now_, event)) {
      if (std::holds_alternative<Dial>(effect)) {
        v.link = LinkId{++links_};
        Host(LinkOpened{*v.link});
        Join(v, LinkUp{});
      } else if (auto* out = std::get_if<SendOut>(&effect)) {
        if (v.link) v.to_host.push_back({now_ + v.delay, std::move(out->bytes)});
      } else if (auto* fetch = std::get_if<FetchPolicy>(&effect)) {
        const PolicyAnnouncement& first = fetch->chain.front();
        EXPECT_EQ(fetch->chain.back().manifest, fetch->manifest);
        if (first.manifest != SnapshotOf(first.version.value)) {
          // A delta, which needs the version before it.
          EXPECT_EQ(first.manifest, ManifestOf(first.version.value));
          EXPECT_EQ(v.loaded, first.version.value - 1);
        }
        v.fetching = {now_ + 5 * v.delay, fetch->version};
      } else if (auto* start = std::get_if<StartSampling>(&effect)) {
        const auto request =
            v.engine->Submit(start->prompt, start->samples, start->options, start->first_sample);
        ASSERT_TRUE(request) << request.error().what;
        Join(v, SamplingStarted{start->lease, start->first_sample, *request});
      } else if (std::holds_alternative<HangUp>(effect)) {
        Cut(v);
      } else if (std::holds_alternative<Leave>(effect)) {
        v.left = true;
        v.why = std::get<Leave>(effect).why;
      }
    }
  }

  void Host(const HostEvent& event) {
    std::vector<HostEffect> effects = host_->Step(now_, event);
    Commit(effects);
    for (HostEffect& effect : effects) {
      if (auto* send = std::get_if<SendFrame>(&effect)) {
        for (Volunteer& v : volunteers_) {
          if (v.link == send->link) v.to_us.push_back({now_ + v.delay, std::move(send->bytes)});
        }
      } else if (auto* close = std::get_if<CloseLink>(&effect)) {
        for (Volunteer& v : volunteers_) {
          if (v.link != close->link) continue;
          ++closed_by_host;
          Cut(v);
        }
      } else if (auto* train = std::get_if<TrainOn>(&effect)) {
        Train(std::move(*train));
      } else if (auto* save = std::get_if<SaveCheckpointNow>(&effect)) {
        ASSERT_TRUE(run_->Checkpoint(save->state, run_->conduct->version()));
      } else if (std::holds_alternative<RunFinished>(effect)) {
        finished_ = true;
      } else if (std::holds_alternative<RunDrained>(effect)) {
        drained_ = true;
      }
    }
  }

  void Commit(std::vector<HostEffect>& effects) {
    StoreBatch batch;
    for (HostEffect& effect : effects) {
      auto* keep = std::get_if<Keep>(&effect);
      if (keep == nullptr) continue;
      if (const auto* record = std::get_if<OutcomeRecord>(&keep->entry))
        ++outcomes[record->outcome];
      if (const auto* grant = std::get_if<LeaseHolder>(&keep->entry))
        ++grants[grant->lease.id.value];
      batch.push_back(std::move(keep->entry));
    }
    const Status kept = store_->Commit(batch);
    ASSERT_TRUE(kept) << kept.error().what;
  }

  void Train(TrainOn batch) {
    PolicyOut out;
    for (TrainerEffect& effect : run_->conduct->Step(BatchReady{std::move(batch)})) {
      if (auto* step = std::get_if<RunStep>(&effect)) {
        auto report = StepOnHonestGroups(*run_->trainer, std::move(step->groups),
                                         run_->conduct->version(), forged);
        ASSERT_TRUE(report) << report.error().what;
        for (TrainerEffect& after : run_->conduct->Step(StepFinished{std::move(*report)}))
          Note(after, out);
      } else {
        Note(effect, out);
      }
    }
    models_[out.version.value] = run_->trainer->WorkingModel().value();
    out.manifest = ManifestOf(out.version.value);
    if (out.version.value % 3 == 0) out.snapshot = SnapshotOf(out.version.value);
    Host(out);
  }
  static void Note(const TrainerEffect& effect, PolicyOut& out) {
    if (const auto* publish = std::get_if<PublishPolicy>(&effect)) out.version = publish->version;
    if (std::holds_alternative<SaveCheckpoint>(effect)) out.save = true;
  }

  const std::filesystem::path root_;
  const std::string name_;
  const LeaseBookSettings leases_;
  std::unique_ptr<RunParts> run_;
  std::vector<std::unique_ptr<RunParts>> killed_;
  const KeyPair host_key_ = KeyPair::Generate();
  std::unique_ptr<RunStore> store_;
  std::optional<HostCore> host_;
  std::map<std::uint64_t, std::shared_ptr<const Model>> models_;
  std::deque<Volunteer> volunteers_;
  Milliseconds now_ = 0;
  std::uint64_t links_ = 0, nonces_ = 0;
  bool finished_ = false, drained_ = false;
};

}  // namespace waggle
