#include "sim/sim_worker.h"

#include "protocol/envelope.h"

namespace waggle {
namespace {

// A volunteer that hears nothing for so long gives up, as `waggle join` does.
constexpr Micros kPatience = 900 * kSecond;
// Beyond the longest wait in the queue, ticks and the line.
constexpr Micros kAnswerSlack = 60 * kSecond;

MessageKind KindOf(const Bytes& envelope) {
  constexpr std::size_t kAt = 5 + 2 + 5;  // after the version (protocol/envelope.h)
  return static_cast<MessageKind>(envelope.size() > kAt ? envelope[kAt] : 0);
}

}  // namespace

SimWorker::SimWorker(SimParts& parts, PeerIndex peer, const Signer& key,
                     std::uint32_t tokens_per_second)
    : parts_(parts),
      peer_(peer),
      key_(key),
      speed_(std::max(1u, tokens_per_second)),
      nonces_(parts.seed, 1000 + peer) {}

void SimWorker::Boot() {
  if (alive() || left_) return;
  ++life_;
  clock = StartClock(parts_, peer_ + 1, life_, clock);
  const CrowdSettings& crowd = parts_.scenario.crowd;
  const JoinSettings settings{
      .software = "sim",
      .environment = "copy",
      .rollouts_max = std::max(crowd.rollouts_max, parts_.scenario.run.group_size),
      .response_tokens_max = 4096};
  const TaskCodec& codec = lie == "prompt" ? parts_.site.wrong_codec() : parts_.site.codec();
  core_ = std::make_unique<JoinCore>(key_, parts_.site.run, std::nullopt, settings, codec,
                                     [this] { return nonces_(); });
  born_ = heard_ = parts_.queue.now();
  Tick();
}

void SimWorker::Kill() {
  if (!alive()) return;
  times_.lived += parts_.queue.now() - born_;
  ++life_;
  core_.reset();
  if (link_) parts_.network.PeerCloses(*link_);
  dialing_.reset();
  link_.reset();
  policy_.reset();
  jobs_.clear();
  sampling_ = false;
  asked_.reset();
}

SimWorker::Times SimWorker::times() const {
  Times times = times_;
  if (alive()) times.lived += parts_.queue.now() - born_;
  return times;
}

void SimWorker::Step(const JoinEvent& event) {
  if (!alive()) return;
  const std::uint32_t life = life_;
  for (JoinEffect& effect : core_->Step(clock.MonotonicMs(parts_.queue.now()), event)) {
    Perform(std::move(effect));
    if (life != life_) return;  // it left
  }
}

void SimWorker::Tick() {
  Step(JoinTick{policy_ ? std::max(1u, speed_ / slow_times) : 0});
  if (!alive()) return;
  if (parts_.queue.now() - heard_ > kPatience) return Perform(waggle::Leave{"patience"});
  WatchRequest();
  const std::uint32_t life = life_;
  parts_.queue.After(parts_.scenario.crowd.tick_ms * kMilli, [this, life] {
    if (life == life_) Tick();
  });
}

// Nobody who asks is forgotten.
void SimWorker::WatchRequest() {
  if (!asked_ || !link_) return;
  const Micros since = std::max(*asked_, parts_.network.line(peer_).stalled_until);
  const Micros longest = parts_.scenario.host.wait_ms_max * kMilli + kAnswerSlack;
  if (parts_.queue.now() > since + longest && parts_.ledger.honest(node()))
    parts_.ledger.Break(fmt::format("worker {} asked for work {} s ago and was not answered", peer_,
                                    (parts_.queue.now() - since) / kSecond));
}

void SimWorker::Perform(JoinEffect effect) {
  if (std::holds_alternative<waggle::Dial>(effect)) {
    Dial();
  } else if (auto* out = std::get_if<SendOut>(&effect)) {
    Say(std::move(out->bytes));
  } else if (auto* hang_up = std::get_if<HangUp>(&effect)) {
    parts_.ledger.HungUp(node(), hang_up->why);
    if (!link_) return;
    // As with a real socket: closed at once, and the event comes later.
    const LinkId link = *link_;
    parts_.network.PeerCloses(link);
    parts_.queue.After(0, [this, link] { Down(link, "we hung up"); });
  } else if (auto* wanted = std::get_if<FetchPolicy>(&effect)) {
    Fetch(*wanted);
  } else if (auto* start = std::get_if<StartSampling>(&effect)) {
    const LeaseId lease = start->lease;
    const std::uint32_t first = start->first_sample;
    const RequestId request = ++next_request_;
    if (!idler) jobs_.push_back({std::move(*start), request});
    Step(SamplingStarted{lease, first, request});
    StartNext();
  } else if (auto* ended = std::get_if<LeaseEnded>(&effect)) {
    if (ended->record.outcome == Outcome::kAccepted) ++accepted_;
    parts_.ledger.Heard(node(), ended->record);
  } else if (std::holds_alternative<waggle::Leave>(effect)) {
    left_ = true;
    Kill();
  }
}

void SimWorker::Dial() { dialing_ = parts_.network.Dial(peer_); }

void SimWorker::Up(LinkId link) {
  if (!alive() || dialing_ != link) return parts_.network.PeerCloses(link);
  dialing_.reset();
  link_ = link;
  heard_ = linked_at_ = parts_.queue.now();
  Step(LinkUp{});
}

void SimWorker::Down(LinkId link, const std::string& why) {
  if (link_ != link && dialing_ != link) return;  // of an older life
  dialing_.reset();
  link_.reset();
  asked_.reset();
  Step(LinkDown{why});
}

void SimWorker::Heard(LinkId link, Bytes bytes) {
  if (link_ != link) return;
  heard_ = parts_.queue.now();
  const MessageKind kind = KindOf(bytes);
  if (kind == MessageKind::kLeaseGrant || kind == MessageKind::kSlowDown ||
      kind == MessageKind::kRefusal || kind == MessageKind::kDrain)
    asked_.reset();
  Step(FrameHeard{std::move(bytes)});
}

void SimWorker::Say(Bytes bytes) {
  if (!link_) return;
  if (KindOf(bytes) == MessageKind::kLeaseRequest) asked_ = parts_.queue.now();
  if (repeats) parts_.network.SendUp(*link_, bytes);
  parts_.network.SendUp(*link_, std::move(bytes));
}

void SimWorker::Noise(Bytes bytes) {
  if (link_) parts_.network.SendUp(*link_, std::move(bytes));
}

void SimWorker::Fetch(const FetchPolicy& wanted) {
  if (!link_) return;
  const LinkId link = *link_;
  const auto blob = parts_.shelf.find(wanted.manifest);
  const bool delta = blob != parts_.shelf.end() && blob->second.base.has_value();
  const std::uint64_t bytes =
      (std::uint64_t{parts_.scenario.run.policy_kib} << 10) / (delta ? 16 : 1);
  const std::uint32_t life = life_;
  parts_.queue.At(parts_.network.FetchTime(link, bytes), [this, life, wanted, link] {
    if (life == life_) Fetched(wanted, link);
  });
}

void SimWorker::Fetched(const FetchPolicy& wanted, LinkId link) {
  const auto failed = [&](const std::string& why) { Step(PolicyFailed{wanted.version, why}); };
  const auto found = parts_.shelf.find(wanted.manifest);
  if (link_ != link || found == parts_.shelf.end()) return failed("the blob could not be fetched");
  ToyBlob blob = found->second;
  if (forged_fetches) blob.payload.back() ^= 1;
  const bool check = !parts_.planted(Plant::kSkipRoot);
  if (check && ManifestOf(blob) != wanted.manifest)
    return failed("what came is not what the announcement named");
  auto policy = Apply(blob, policy_.get(), check);
  if (!policy) return failed(policy.error().what);
  policy_ = std::make_shared<const ToyPolicy>(std::move(*policy));
  version_ = wanted.version;
  Step(PolicyLoaded{wanted.version});
}

// The whole answer at once, under the weights of now: a swap lets it finish under those.
TokensSampled SimWorker::SampleNow(const Job& job) const {
  TokensSampled out;
  const StartSampling& start = job.start;
  for (std::uint32_t i = 0; i < start.samples; ++i) {
    const ToySample sample = Sample(*policy_, start.prompt, start.options.config, start.options.key,
                                    start.first_sample + i);
    for (std::size_t at = 0; at < sample.tokens.size(); ++at) {
      TokenEvent token{.request = job.request,
                       .sample = start.first_sample + i,
                       .token = sample.tokens[at],
                       .logp = sample.logps[at],
                       .version = version_};
      if (at + 1 == sample.tokens.size()) token.finish = sample.finish;
      out.tokens.push_back(token);
    }
  }
  if (!lie.empty()) Lie(out.tokens);
  return out;
}

void SimWorker::Lie(std::vector<TokenEvent>& tokens) const {
  TokenEvent& first = tokens.front();
  if (lie == "logps") first.logp /= 2;
  if (lie == "tokens") first.token = first.token == 5 ? 6 : 5;
  if (lie == "spans") first.version.value += 1;
  if (lie == "garbage") first.token = 1 << 20;
  if (lie == "short" && !first.finish) {
    // It stops after one token and says that this was the end.
    const auto sample = first.sample;
    first.finish = FinishReason::kStop;
    std::erase_if(tokens, [&, kept = false](const TokenEvent& t) mutable {
      if (t.sample != sample) return false;
      return std::exchange(kept, true);
    });
  }
}

void SimWorker::StartNext() {
  if (sampling_ || jobs_.empty() || !policy_) return;
  sampling_ = true;
  parts_.ledger.Sampled(version_, *policy_, node());
  TokensSampled tokens = SampleNow(jobs_.front());
  jobs_.pop_front();
  const Micros takes = tokens.tokens.size() * kSecond * slow_times / speed_;
  times_.busy += takes;
  const std::uint32_t life = life_;
  parts_.queue.After(takes, [this, life, tokens = std::move(tokens)] {
    if (life == life_) Finish(tokens);
  });
}

void SimWorker::Finish(const TokensSampled& tokens) {
  sampling_ = false;
  Step(tokens);
  if (alive()) StartNext();
}

}  // namespace waggle
