#include "delegation/answer_run.h"

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/hex.h"
#include "host/listening.h"
#include "net/server.h"
#include "protocol/invite.h"

namespace waggle {
namespace {

constexpr std::size_t kQuestionBytesMax = std::size_t{256} << 10;  // terms and what is around them

// Computes answers, one after the other, on a thread of its own. Keeps the graph of one dispute.
class AnswerThread {
 public:
  explicit AnswerThread(Answerer& answerer) : answerer_(answerer), thread_([this] { Loop(); }) {}
  ~AnswerThread() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }
  AnswerThread(const AnswerThread&) = delete;
  AnswerThread& operator=(const AnswerThread&) = delete;

  void Ask(AnswerDesk::Work work) {
    {
      const std::lock_guard lock(mutex_);
      questions_.push_back(std::move(work));
    }
    ready_.notify_one();
  }
  struct Done {
    std::uint64_t number = 0;
    std::optional<DisputeReply> reply;
  };
  std::vector<Done> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ready_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
      if (stopping_) return;
      const AnswerDesk::Work work = std::move(questions_.front());
      questions_.pop_front();
      lock.unlock();
      Done done{work.number, Answer(work)};
      lock.lock();
      done_.push_back(std::move(done));
    }
  }
  std::optional<DisputeReply> Answer(const AnswerDesk::Work& work) {
    if (!side_ || side_of_ != work.request.dispute) {
      side_.reset();
      side_ = answerer_.Side(work.terms, work.request.party);
      side_of_ = work.request.dispute;
    }
    return side_->Answer(work.request);
  }

  Answerer& answerer_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<AnswerDesk::Work> questions_;
  std::vector<Done> done_;
  bool stopping_ = false;
  // Of the thread alone.
  std::unique_ptr<DisputeParty> side_;
  Digest256 side_of_{};
  std::thread thread_;
};

NetLimits AnswerLimits() {
  NetLimits limits;
  limits.connections_max = 32;
  limits.connections_per_address_max = 8;
  limits.sockets_max = 64;
  limits.sockets_per_address_max = 16;
  limits.frame_bytes_max = kQuestionBytesMax;
  limits.inbound_bytes_max = 4 * kQuestionBytesMax;
  limits.queued_bytes_max = std::size_t{256} << 20;
  limits.partial_bytes_max = std::size_t{8} << 20;
  // A referee says nothing while the other side computes.
  limits.idle_ms_max = 24 * 3'600'000;
  return limits;
}

}  // namespace

Result<AnswerDesk::Counts> AnswerForRun(const AnswerOptions& options, Answerer& answerer,
                                        const Signer& key, Clock& clock) {
  WG_TRY(CheckReachable(options.listen, options.hosts));
  WG_ASSIGN(const Certificate certificate,
            LoadOrMakeCertificate(options.folder / "answer.crt", options.folder / "answer.pem"));
  const RunCommit commit = answerer.Commit();
  WG_ASSIGN(auto server,
            NodeServer::Start(options.listen, certificate, AnswerLimits(), nullptr, clock));
  Invite invite{.pin = certificate.pin, .run = commit.program};
  WG_ASSIGN(invite.hosts, EndpointsFor(options.listen, options.hosts, server->port()));
  if (options.listening) options.listening(ToText(invite));

  AnswerDesk desk(key, answerer.program(), commit, options.referees, {},
                  [&answerer](std::uint64_t first) { return answerer.Responses(first); });
  AnswerThread thread(answerer);
  const auto perform = [&](AnswerDesk::Effects effects) {
    for (const AnswerDesk::Send& send : effects.send)
      server->Send(ConnectionId{send.link}, send.frame);
    for (AnswerDesk::Work& work : effects.work) {
      if (options.say)
        options.say(fmt::format("dispute {}: question {}, {}",
                                ToHex(work.request.dispute).substr(0, 16), work.request.round,
                                ToString(work.request.kind)));
      thread.Ask(std::move(work));
    }
  };
  while (!options.wants_to_leave || !options.wants_to_leave()) {
    Event event;
    if (server->Next(event, 20) && event.kind == Event::Kind::kReceived)
      perform(desk.OnFrame(static_cast<std::uint64_t>(event.connection), clock.MonotonicNs(),
                           event.frame()));
    for (const AnswerThread::Done& done : thread.Take())
      perform(desk.OnAnswer(done.number, done.reply));
    perform(desk.Tick(clock.MonotonicNs()));
  }
  return desk.counts();
}

}  // namespace waggle
