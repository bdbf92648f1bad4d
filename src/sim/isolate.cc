#include "sim/isolate.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <deque>

#include "base/check.h"

namespace waggle {
namespace {

// A child that simulates, its result and its last words on pipes.
struct Child {
  std::uint64_t seed = 0;
  pid_t process = -1;
  int result = -1, words = -1;
};

void WriteAll(int pipe, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(pipe, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string ReadAll(int pipe) {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(pipe, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  ::close(pipe);
  return text;
}

Child Start(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule, Plant plant) {
  int result[2], words[2];
  Check(::pipe2(result, O_CLOEXEC) == 0 && ::pipe2(words, O_CLOEXEC) == 0, "there are pipes");
  Child child{seed, ::fork(), result[0], words[0]};
  Check(child.process >= 0, "a process can be started");
  if (child.process == 0) {
    ::dup2(words[1], STDERR_FILENO);
    const SimResult done = Simulate(scenario, seed, schedule, {.plant = plant, .progress = {}});
    WriteAll(result[1], fmt::format("{} {} {} {}\n{}", done.digest, done.broken_at, done.finished,
                                    done.ended, done.broken));
    ::_exit(0);  // no destructors, no buffers of the parent's
  }
  ::close(result[1]);
  ::close(words[1]);
  return child;
}

SimResult Await(const Child& child) {
  const std::string text = ReadAll(child.result), words = ReadAll(child.words);
  int status = 0;
  Check(::waitpid(child.process, &status, 0) == child.process, "the child ends once");
  SimResult result;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::size_t end = words.find('\n');
    result.broken = "the process died: " + words.substr(0, end);
    return result;
  }
  unsigned long long digest = 0, at = 0, finished = 0, ended = 0;
  int used = 0;
  Check(std::sscanf(text.c_str(), "%llu %llu %llu %llu\n%n", &digest, &at, &finished, &ended,
                    &used) == 4,
        "the child says what it found");
  result.digest = digest;
  result.broken_at = at;
  result.finished = finished;
  result.ended = ended;
  result.broken = text.substr(text.find('\n') + 1);
  return result;
}

}  // namespace

SimResult SimulateApart(const Scenario& scenario, std::uint64_t seed, const Schedule& schedule,
                        Plant plant) {
  return Await(Start(scenario, seed, schedule, plant));
}

void SimulateSeeds(const Scenario& scenario, std::uint64_t first, std::uint64_t count, Plant plant,
                   unsigned jobs, const std::function<bool(const Verdicts&)>& done) {
  std::deque<Child> running;
  std::uint64_t next = first;
  bool go_on = true;
  while (!running.empty() || (go_on && next < first + count)) {
    while (go_on && next < first + count && running.size() < std::max(1u, jobs)) {
      running.push_back(Start(scenario, next, ScheduleOf(scenario, next), plant));
      ++next;
    }
    const Child oldest = running.front();
    running.pop_front();
    const SimResult result = Await(oldest);
    if (go_on) go_on = done({oldest.seed, result.broken, result.digest});
  }
}

}  // namespace waggle
