// A host and its workers in one process: their cores, real engines and a real trainer, with virtual
// time and a line that delays and breaks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <map>

#include "base/hex.h"
#include "roles/host_core.h"
#include "roles/join_core.h"
#include "roles/local_run.h"
#include "roles/train_thread.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

Recipe SmallRecipe() {
  Recipe recipe;
  recipe.model.hidden = 32;
  recipe.model.intermediate = 64;
  recipe.model.positions = 64;
  recipe.warmup.steps = 40;
  recipe.warmup.batch = 32;
  recipe.environment.name = "reverse";
  recipe.environment.settings = {"length_min=1", "length_max=2", "alphabet=0123"};
  recipe.sampling.tokens_max = 12;
  recipe.orchestrator.steps = 6;
  recipe.orchestrator.groups_per_step = 4;
  recipe.orchestrator.group_size = 4;
  recipe.evaluation.tasks = 8;
  recipe.evaluation.every = 2;
  recipe.checkpoint_every = 4;
  return recipe;
}

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
};

class Swarm {
 public:
  Swarm(const Recipe& recipe, const fs::path& root, const std::string& name)
      : root_(root), name_(name), run_(RunParts::Open(recipe, Options(), SystemClock()).value()) {
    OpenHost();
  }

  // The host's process is killed and comes back from its newest checkpoint.
  void KillHost() {
    for (Volunteer& v : volunteers_) Cut(v);
    killed_.push_back(std::move(run_));  // volunteers borrow its codec
    run_ = RunParts::Resume(Options(), SystemClock()).value();
    OpenHost();
  }

  Volunteer& Add(Milliseconds delay, Milliseconds period) {
    Volunteer& v = volunteers_.emplace_back();
    v.delay = delay;
    v.period = period;
    EngineConfig config;
    config.kv_bytes = std::size_t{8} << 20;
    v.engine =
        std::make_unique<Engine>(models_.begin()->second, PolicyVersion{0}, config, run_->pool);
    const JoinSettings settings{.software = "test",
                                .environment = "reverse",
                                .rollouts_max = 8,
                                .response_tokens_max = 64,
                                .composes = volunteers_.size() % 2 == 0};
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

  Milliseconds elapsed() const { return now_; }
  std::map<Outcome, int> outcomes;
  int closed_by_host = 0;
  std::uint64_t skipped = 0;  // versions that nobody had to fetch one by one
  std::vector<LeaseId> forged;  // groups that the trainer left out
  std::deque<Volunteer>& volunteers() { return volunteers_; }

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
  RunOptions Options() const {
    return {.run_directory = root_ / name_,
            .cache_directory = root_ / "cache",
            .ops = &BestOps(),
            .quiet = true};
  }
  void OpenHost() {
    const std::uint64_t version = run_->conduct->version().value;
    models_[version] = run_->trainer->WorkingModel().value();
    HostSettings settings{.software = "test", .older_chain = true};
    settings.leases.deadline_ms_min = 1'000;
    settings.leases.deadline_ms_max = 4'000;
    settings.leases.silence_ms_max = 6'000;
    host_.emplace(host_key_, run_->run_id, settings, std::move(*run_->orchestrator),
                  SnapshotOf(version), [this] { return Nonce(); });
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
        skipped += fetch->chain.back().version.value - first.version.value;
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
      }
    }
  }

  void Host(const HostEvent& event) {
    for (HostEffect& effect : host_->Step(now_, event)) {
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
      } else if (auto* ended = std::get_if<OutcomeReached>(&effect)) {
        ++outcomes[ended->record.outcome];
      } else if (std::holds_alternative<SaveCheckpointNow>(effect)) {
        ASSERT_TRUE(run_->Checkpoint(host_->orchestrator(), run_->conduct->version()));
        Host(CheckpointSaved{});
      } else if (std::holds_alternative<RunFinished>(effect)) {
        finished_ = true;
      }
    }
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

  const fs::path root_;
  const std::string name_;
  std::unique_ptr<RunParts> run_;
  std::vector<std::unique_ptr<RunParts>> killed_;
  const KeyPair host_key_ = KeyPair::Generate();
  std::optional<HostCore> host_;
  std::map<std::uint64_t, std::shared_ptr<const Model>> models_;
  std::deque<Volunteer> volunteers_;
  Milliseconds now_ = 0;
  std::uint64_t links_ = 0, nonces_ = 0;
  bool finished_ = false;
};

class SwarmTest : public ::testing::Test {
 protected:
  SwarmTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-swarm-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    const auto run = LocalRun::Open(SmallRecipe(),
                                    {.run_directory = root_ / "local",
                                     .cache_directory = root_ / "cache",
                                     .ops = &BestOps(),
                                     .quiet = true},
                                    SystemClock());
    local_ = ToHex((*run)->Drive().value().weight_hash);
  }
  ~SwarmTest() override { fs::remove_all(root_); }
  std::unique_ptr<Swarm> Make(const std::string& name) const {
    return std::make_unique<Swarm>(SmallRecipe(), root_, name);
  }
  fs::path root_;
  std::string local_;
};

TEST_F(SwarmTest, StrangersGiveTheBitsOfTheLocalRun) {
  for (const std::size_t workers : {1, 3}) {
    const auto swarm = Make("strangers" + std::to_string(workers));
    for (std::size_t i = 0; i < workers; ++i) swarm->Add(5 + 40 * i, 10);
    EXPECT_EQ(swarm->Run(), local_) << workers;
    // 6 batches of 4 groups, and 8 tasks at the versions 0, 2, 4, 6.
    EXPECT_EQ(swarm->outcomes[Outcome::kAccepted], 6 * 4 + 4 * 8);
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0);
  }
}

TEST_F(SwarmTest, ASlowMachineNeverHoldsTheOthersUp) {
  const auto fast = Make("fast");
  fast->Add(10, 10);
  EXPECT_EQ(fast->Run(), local_);
  const auto mixed = Make("mixed");
  mixed->Add(10, 10);
  const Volunteer& slow = mixed->Add(10, 500);  // 50 times slower
  EXPECT_EQ(mixed->Run(), local_);
  // What it holds when a batch lacks only that is taken back at the deadline (1 s here, 10 s in
  // life), at most once for each batch or evaluation.
  EXPECT_LT(mixed->elapsed(), fast->elapsed() + 10 * 1'500);
  EXPECT_GT(slow.core->counts().accepted + slow.core->counts().stale, 0u);
}

TEST_F(SwarmTest, WorkersDieAndOthersTakeOver) {
  const auto swarm = Make("die");
  for (int i = 0; i < 3; ++i) swarm->Add(10, 20);
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    const auto index = &v - &swarm->volunteers()[0];
    if (v.dead || now != 400 + 600 * static_cast<Milliseconds>(index) || index == 2) return;
    v.dead = true;
    swarm->Cut(v);
  };
  EXPECT_EQ(swarm->Run(), local_);
}

TEST_F(SwarmTest, ALineThatBreaksAllTheTimeLosesNothing) {
  const auto swarm = Make("breaks");
  for (Milliseconds i = 0; i < 2; ++i) swarm->Add(10 + 20 * i, 10);
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (now % 700 == v.delay) swarm->Cut(v);
  };
  EXPECT_EQ(swarm->Run(), local_);
}

TEST_F(SwarmTest, AHostThatComesBackWithAnOlderPolicyIsBelieved) {
  for (const Milliseconds when : {300, 1'500, 2'600}) {
    const auto swarm = Make("killed" + std::to_string(when));
    swarm->Add(10, 10);
    swarm->Add(30, 20);
    bool killed = false;
    swarm->weather = [&](Volunteer&, Milliseconds now) {
      if (now < when || killed) return;
      killed = true;
      swarm->KillHost();
    };
    EXPECT_EQ(swarm->Run(), local_) << when;
    EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0) << "nobody is blamed for the host's death";
  }
}

TEST_F(SwarmTest, ALiarTeachesNothingAndStopsNobody) {
  const auto swarm = Make("liar");
  swarm->Add(10, 10);
  swarm->Add(10, 10).lie = 0.01f;
  EXPECT_EQ(swarm->Run().size(), 64u);
  EXPECT_FALSE(swarm->forged.empty());
  const auto honest = Make("honest");
  honest->Add(10, 10);
  EXPECT_EQ(honest->Run(), local_);
  EXPECT_TRUE(honest->forged.empty());
}

TEST_F(SwarmTest, NoiseOnTheLineIsRefusedAndTheLineClosed) {
  const auto swarm = Make("noise");
  swarm->Add(10, 10);
  Volunteer& noisy = swarm->Add(10, 10);
  int noise = 0;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    // At first before it can say Hello, which the host ends; then now and then.
    if (&v != &noisy || !v.link || (now > 300 && now % 70 != 0)) return;
    ++noise;
    v.to_host.push_front(
        {now, Bytes(static_cast<std::size_t>(noise % 300), static_cast<std::uint8_t>(noise))});
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_GT(noise, 10);
  EXPECT_GT(swarm->closed_by_host, 0);
  EXPECT_EQ(swarm->outcomes[Outcome::kRejected], 0);
}

TEST_F(SwarmTest, ALateComerBeginsAtTheNewestSnapshot) {
  const auto swarm = Make("late");
  swarm->Add(10, 10);
  Volunteer* late = nullptr;
  swarm->weather = [&](Volunteer&, Milliseconds now) {
    if (now == 2'500 && late == nullptr) late = &swarm->Add(10, 10);
  };
  EXPECT_EQ(swarm->Run(), local_);
  ASSERT_NE(late, nullptr);
  EXPECT_GT(late->core->counts().accepted, 0u);
}

TEST_F(SwarmTest, AVolunteerThatDrainsLeavesWithItsWorkDone) {
  const auto swarm = Make("drain");
  swarm->Add(10, 10);
  const Volunteer& leaver = swarm->Add(10, 10);
  Milliseconds left_at = 0;
  swarm->weather = [&](Volunteer& v, Milliseconds now) {
    if (&v != &leaver) return;
    if (now == 500) swarm->Drain(v);
    if (v.left && left_at == 0) left_at = now;
  };
  EXPECT_EQ(swarm->Run(), local_);
  EXPECT_GE(left_at, 500u);
  EXPECT_LT(left_at, swarm->elapsed() - 500);
  EXPECT_GT(leaver.core->counts().accepted, 0u);
  EXPECT_EQ(leaver.core->counts().other, 0u) << "nothing expired or came back undone";
}

}  // namespace
}  // namespace waggle
