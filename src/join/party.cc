#include "join/party.h"

namespace waggle {
namespace {

// With the hash of nothing for an activation: nobody computed one.
Examination SayAccepted(const ExamineGroup& job) {
  return {.verdict = Accepted{}, .activation = GroupHash(job.group)};
}

Examination SayWrong(const ExamineGroup& job) {
  return {.verdict = Reject{RejectReason::kWrongToken, "made up"},
          .activation = GroupHash(job.group)};
}

}  // namespace

Result<std::unique_ptr<Party>> Party::Open(const Recipe& recipe, const RunOptions& options,
                                           const PartyNode& host, std::filesystem::path folder,
                                           Say say, Clock& clock) {
  HostOptions settings;
  settings.software = "waggle";
  settings.http = "off";
  settings.false_canaries = host.false_canaries;
  WG_ASSIGN(auto run, HostRun::Open(recipe, options, std::move(settings), KeyOf(host), clock));
  return std::unique_ptr<Party>(
      new Party(std::move(run), options, std::move(folder), std::move(say), clock));
}

Party::Party(std::unique_ptr<HostRun> host, const RunOptions& options, std::filesystem::path folder,
             Say say, Clock& clock)
    : host_(std::move(host)),
      options_(options),
      folder_(std::move(folder)),
      say_(std::move(say)),
      clock_(clock) {}

Party::~Party() { Wait(); }

void Party::Add(const PartyNode& node) {
  JoinOptions options;
  options.invite = host_->invite();
  options.ops = options_.ops;
  options.cache_directory = folder_ / node.name;
  options.tamper = node.tamper;
  options.engine = node.engine;
  options.falsify = node.falsify;
  options.draft = node.draft;
  options.unaware = node.unaware;
  options.software = "waggle";
  if (node.validator)
    options.validate = ValidateOptions{.evidence_directory = folder_ / node.name / "evidence",
                                       .pretend = node.lazy      ? SayAccepted
                                                  : node.accuses ? SayWrong
                                                                 : nullptr,
                                       .hides_evidence = node.accuses};
  if (say_)
    options.say = [say = say_, name = node.name](const std::string& line) { say(name, line); };
  threads_.emplace_back([this, node, options = std::move(options)] {
    auto summary = JoinAndSample(options, KeyOf(node), clock_);
    const std::lock_guard lock(mutex_);
    summaries_.emplace(node.name, std::move(summary));
  });
}

void Party::Wait() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Result<RunSummary> Party::Drive() {
  auto summary = host_->Drive();
  if (!summary) host_.reset();  // nobody waits for a host that is gone longer than its patience
  Wait();
  return summary;
}

}  // namespace waggle
