// waggle doctor: what this machine, an invite or a run's folder lack, and what to do about it.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/files.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/control.h"
#include "cli/node.h"
#include "crypto/key_file.h"
#include "http/client.h"
#include "http/server.h"
#include "kernels/kat.h"
#include "net/client.h"
#include "protocol/invite.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kMemoryWanted = 1024 * kMib, kDiskWanted = 2048 * kMib;
constexpr std::size_t kTrialBytes = 32 * kMib;
constexpr rlim_t kDescriptorsWanted = 1024;  // a host: 512 sockets, the store, files
constexpr double kDriftSecondsMax = 30;
constexpr std::int64_t kAnswerMs = 15'000;

enum class Grade : std::uint8_t { kOk, kWarning, kProblem };

// Prints as it goes: the first findings help even if a later check hangs.
class Doctor {
 public:
  void Say(Grade grade, std::string_view what, const std::string& found,
           const std::string& advice) {
    const char* word = grade == Grade::kOk        ? "ok"
                       : grade == Grade::kWarning ? "warning"
                                                  : "problem";
    fmt::print("{:<8} {:<12} {}\n", word, what, found);
    if (grade != Grade::kOk) fmt::print("{:<21} -> {}\n", "", advice);
    std::fflush(stdout);
    problems_ += grade == Grade::kProblem ? 1 : 0;
  }
  int problems() const { return problems_; }

 private:
  int problems_ = 0;
};

void CheckArithmetic(Doctor& doctor) {
  const Ops& ops = BestOps();
  ThreadPool pool(1);
  const KatReport report = RunKnownAnswers(ops, pool);
  std::size_t wrong = 0;
  for (const KnownAnswer& answer : report.answers) wrong += answer.passed() ? 0 : 1;
  doctor.Say(wrong == 0 ? Grade::kOk : Grade::kProblem, "arithmetic",
             fmt::format("kernels {}, {} threads, {} known answers, {} wrong, digest {:016x}",
                         ops.name, HardwareThreads(), report.answers.size(), wrong, report.digest),
             "this machine must not sample: test its memory, and try --isa with another of "
             "`waggle kat --list`");
}

void CheckMemory(Doctor& doctor) {
  // No regular file: its size is not known before it is read.
  std::ifstream file("/proc/meminfo");
  std::uint64_t kib = 0;
  for (std::string name; file >> name;) {
    if (name == "MemAvailable:" && file >> kib) break;
  }
  if (kib == 0) return doctor.Say(Grade::kWarning, "memory", "unknown", "look with `free -m`");
  doctor.Say(kib * 1024 >= kMemoryWanted ? Grade::kOk : Grade::kWarning, "memory",
             fmt::format("{} MiB available", kib / 1024),
             "small models only: lower `waggle join --memory`, or end other programs");
}

void CheckDisk(Doctor& doctor, const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error)
    return doctor.Say(Grade::kProblem, "disk", folder.string() + ": " + error.message(),
                      "name a folder that exists");
  doctor.Say(space.available >= kDiskWanted ? Grade::kOk : Grade::kWarning, "disk",
             fmt::format("{}: {} MiB free", folder.string(), space.available / kMib),
             "checkpoints need room: free some, lower checkpoints_kept, or use another disk");
  const fs::path trial = folder / fmt::format(".waggle-doctor-{}", ::getpid());
  const std::int64_t begin = SystemClock().MonotonicNs();
  const Status written = WriteFileAtomic(trial, std::string(kTrialBytes, 'w'));
  const double seconds = static_cast<double>(SystemClock().MonotonicNs() - begin) * 1e-9;
  fs::remove(trial, error);
  if (!written)
    return doctor.Say(Grade::kProblem, "disk", written.error().what,
                      "give this user the right to write there, or free space");
  const double speed = static_cast<double>(kTrialBytes / kMib) / std::max(seconds, 1e-6);
  doctor.Say(speed >= 10 ? Grade::kOk : Grade::kWarning, "disk",
             fmt::format("writes and syncs {:.0f} MiB/s", speed),
             "each checkpoint and each commit waits for this disk: use a faster one for the run");
}

void CheckDescriptors(Doctor& doctor) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  doctor.Say(limit.rlim_cur >= kDescriptorsWanted ? Grade::kOk : Grade::kWarning, "descriptors",
             fmt::format("{} open files allowed", limit.rlim_cur),
             "`ulimit -n 4096`, or LimitNOFILE=4096 in the unit, before hosting a crowd");
}

void CheckKey(Doctor& doctor) {
  const fs::path file = DefaultKeyFile();
  if (!fs::exists(file))
    return doctor.Say(Grade::kOk, "key", "none yet; the first `waggle join` makes it", "");
  const auto info = ReadKeyFileInfo(file);
  if (!info)
    return doctor.Say(Grade::kProblem, "key", info.error().what, "do what the message says");
  doctor.Say(Grade::kOk, "key",
             fmt::format("{}{}", ToText(info->id), info->sealed ? ", sealed" : ""), "");
}

void CheckPorts(Doctor& doctor) {
  const auto server = HttpServer::Start("0.0.0.0:0", {}, SystemClock(),
                                        [](const HttpRequest&) { return HttpResponse{}; });
  doctor.Say(server ? Grade::kOk : Grade::kProblem, "ports",
             server ? "can listen" : server.error().what,
             "a sandbox or a firewall rule forbids listening: joining works, hosting does not");
}

// RFC 1918, RFC 6598, RFC 3927, RFC 5737: not reachable from elsewhere.
bool IsPrivate(std::uint32_t address) {
  const std::uint32_t net = address >> 8;
  if (net == 0xc00002 || net == 0xc63364 || net == 0xcb0071) return true;
  return address >> 24 == 10 || address >> 20 == 0xac1 || address >> 16 == 0xc0a8 ||
         (address >> 22) == (0x64400000u >> 22) || address >> 16 == 0xa9fe;
}

// From the local addresses alone: what a router in between does cannot be seen from here.
void CheckNat(Doctor& doctor) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0)
    return doctor.Say(Grade::kWarning, "NAT", "no list of addresses", "look with `ip address`");
  std::string open, hidden;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
    const std::uint32_t address = ntohl(v4->sin_addr.s_addr);
    char text[INET_ADDRSTRLEN] = "";
    if (address >> 24 == 127 || ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) == nullptr)
      continue;
    std::string& names = IsPrivate(address) ? hidden : open;
    names += std::string(names.empty() ? "" : ", ") + text;
  }
  ::freeifaddrs(list);
  if (!open.empty())
    return doctor.Say(Grade::kOk, "NAT",
                      "a public IPv4 address: " + open + " (a firewall may still stand before it)",
                      "");
  doctor.Say(Grade::kWarning, "NAT",
             hidden.empty() ? "no IPv4 address but loopback"
                            : "only private addresses (" + hidden + "): probably behind a NAT",
             "joining works from here; to host, forward a port and name it with --host");
}

// Against the Date of an answer, which is good to a second and the time it took.
void CheckClock(Doctor& doctor, const std::string& url) {
  const std::int64_t first = SystemClock().MonotonicNs(), second = SystemClock().MonotonicNs();
  const double now = SystemClock().UnixSeconds();
  const bool sane = second >= first && now > 1.7e9;
  doctor.Say(sane ? Grade::kOk : Grade::kProblem, "clock",
             fmt::format("{:.0f} s since 1970{}", now, second >= first ? "" : ", and it runs back"),
             "set the clock (`timedatectl set-ntp true`): invites expire by it");
  if (url.empty()) return;
  const auto reply = HttpGet(url + "/health/live", {}, std::nullopt,
                             [](std::uint64_t, auto) -> Status { return {}; });
  std::tm parts{};
  if (!reply || !reply->headers.contains("date") ||
      ::strptime(reply->headers.at("date").c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr)
    return doctor.Say(Grade::kWarning, "clock", "the host tells no time to compare with",
                      "look whether it is up: `waggle status`");
  const double drift = SystemClock().UnixSeconds() - static_cast<double>(::timegm(&parts));
  doctor.Say(drift > -kDriftSecondsMax && drift < kDriftSecondsMax ? Grade::kOk : Grade::kWarning,
             "clock", fmt::format("{:.0f} s away from the host's", drift),
             "set this clock or the host's; results do not depend on it, expiry of invites does");
}

void CheckHost(Doctor& doctor, const std::string& url) {
  const auto ready = CallForText({.url = url + "/health/ready"}, {});
  doctor.Say(ready ? Grade::kOk : Grade::kProblem, "host",
             ready ? url + " is ready" : ready.error().what,
             "look at the host's last lines; `waggle resume` starts it again");
}

Status CheckInvite(Doctor& doctor, const std::string& text) {
  const auto invite = ParseInvite(text);
  if (!invite) return Forward(AsError(invite.error()));
  if (IsExpired(*invite, static_cast<std::uint64_t>(SystemClock().UnixSeconds())))
    doctor.Say(Grade::kProblem, "invite", "expired", "ask for a new one");
  for (const Endpoint& endpoint : invite->hosts) {
    const std::string place = fmt::format("{}:{}", endpoint.host, endpoint.port);
    WG_ASSIGN(const auto client, NodeClient::Connect(place, invite->pin, {}, SystemClock()));
    Event event;
    const bool heard = client->Next(event, kAnswerMs);
    const bool open = heard && event.kind == Event::Kind::kOpened;
    doctor.Say(open ? Grade::kOk : Grade::kProblem, "invite",
               open ? place + " answers, and is who the invite says"
                    : place + ": " + (heard ? event.text : "no answer"),
               "is the host up, its port forwarded, and does a firewall here allow it? A wrong pin "
               "means another host, or somebody in between");
  }
  return {};
}

Status Examine(const std::string& invite, const std::string& run) {
  Doctor doctor;
  CheckArithmetic(doctor);
  CheckMemory(doctor);
  CheckDisk(doctor, run.empty() ? fs::current_path() : fs::path(run));
  CheckDescriptors(doctor);
  CheckKey(doctor);
  CheckPorts(doctor);
  CheckNat(doctor);
  std::string url;
  if (!run.empty()) {
    if (const auto control = ControlOf(run)) {
      url = control->url;
      CheckHost(doctor, url);
    } else {
      doctor.Say(Grade::kWarning, "host", control.error().what, "`waggle resume` starts it");
    }
  }
  CheckClock(doctor, url);
  if (!invite.empty()) WG_TRY(CheckInvite(doctor, invite));
  if (doctor.problems() == 0) return {};
  return Fail(Blame::kMachine, "{} problem{}", doctor.problems(),
              doctor.problems() == 1 ? "" : "s");
}

}  // namespace

Action DefineDoctor(CLI::App& app) {
  auto run = std::make_shared<std::string>(), invite = std::make_shared<std::string>();
  app.add_option("run", *run, "Folder of a run: its disk, and its host if one is up.");
  app.add_option("--invite", *invite, "Whether its hosts can be reached from here.");
  return [run, invite] { return Examine(*invite, *run); };
}

}  // namespace waggle
