// waggle status: a live table of a run that listens.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/node.h"
#include "http/client.h"
#include "telemetry/telemetry_view.h"

namespace waggle {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kControlBytesMax = 4096;
constexpr std::uint64_t kStatusBytesMax = 64 << 20;
constexpr std::chrono::milliseconds kRedraw{1000};

double Number(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_number() ? object[key].get<double>() : 0.0;
}
std::string Word(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}
bool Flag(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_boolean() && object[key].get<bool>();
}

std::string Table(const Json& status) {
  std::string text = fmt::format("run {}  version {:.0f} of {:.0f}  up {}{}\n",
                                 Word(status, "run").substr(0, 12), Number(status, "version"),
                                 Number(status, "steps"), DurationText(Number(status, "seconds")),
                                 Flag(status, "draining") ? "  DRAINING" : "");
  text += fmt::format("trainer  {:.2f} s a step, idle {:.0f} %  {}\n",
                      Number(status, "step_seconds"), 100 * Number(status, "trainer_idle_share"),
                      Flag(status, "trainer_busy_now") ? "computing" : "waiting for rollouts");
  text += fmt::format(
      "workers  {:.0f} here, {:.0f} waiting for work, idle {:.0f} %; {:.0f} tokens/s accepted, "
      "{:.0f} "
      "needed\n",
      Number(status, "workers"), Number(status, "waiting"),
      100 * Number(status, "worker_idle_share"), Number(status, "tokens_per_second"),
      Number(status, "tokens_per_second_needed"));
  text += fmt::format("leases   {:.0f} open; ended:", Number(status, "open_grants"));
  const Json outcomes = status.value("outcomes", Json::object());
  for (const auto& [name, count] : outcomes.items())
    text += fmt::format(" {} {}", name, count.is_number() ? count.get<std::uint64_t>() : 0);
  text += fmt::format("; rollouts {:.1f} versions old when trained on\n\n",
                      Number(status, "staleness_mean"));
  const Json desks = status.value("desks", Json::array());
  for (const Json& desk : desks) {
    text += fmt::format(
        "desk {:<4.0f} {}  holds {:.0f} leases ({:.0f} rollouts of {:.0f} that it would like), "
        "{:.0f} accepted, heard {:.1f} s ago\n",
        Number(desk, "desk"), Word(desk, "node"), Number(desk, "leases"), Number(desk, "rollouts"),
        Number(desk, "target"), Number(desk, "accepted"), Number(desk, "silent_ms") / 1000);
  }
  if (!desks.empty()) text += "\n";
  text += fmt::format("{:<62}  {:<8} {:>6} {:>8} {:>6} {:>9} {:>6}\n", "node", "state", "leases",
                      "accepted", "lost", "tokens/s", "idle");
  const Json nodes = status.value("nodes", Json::array());
  for (const Json& node : nodes) {
    const char* state = !Flag(node, "present")       ? "gone"
                        : Flag(node, "draining")     ? "leaving"
                        : Flag(node, "waiting")      ? "waits"
                        : Number(node, "leases") > 0 ? "works"
                                                     : "idle";
    text += fmt::format("{:<62}  {:<8} {:>6.0f} {:>8.0f} {:>6.0f} {:>9.0f} {:>4.0f} %\n",
                        Word(node, "node"), state, Number(node, "leases"), Number(node, "accepted"),
                        Number(node, "lost"), Number(node, "tokens_per_second"),
                        100 * Number(node, "idle_share"));
  }
  return text;
}

struct StatusArguments {
  std::string run;
  bool json = false, once = false;
};

Status Show(const StatusArguments& arguments) {
  WG_ASSIGN(const Control control, ControlOf(arguments.run));
  const bool live = !arguments.json && !arguments.once && ::isatty(STDOUT_FILENO) != 0;
  do {
    WG_ASSIGN(const std::string text,
              CallForText({.url = control.url + "/status"}, {.body_bytes_max = kStatusBytesMax}));
    if (arguments.json) {
      fmt::print("{}", text);
      return {};
    }
    const Json status = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!status.is_object())
      return Fail(Blame::kPeer, "{}/status is not the status of a host", control.url);
    if (live) fmt::print("\x1b[H\x1b[J");
    fmt::print("{}", Table(status));
    std::fflush(stdout);
    if (live) std::this_thread::sleep_for(kRedraw);
  } while (live && !EndWanted());
  return {};
}

}  // namespace

Result<Control> ControlOf(const std::string& run) {
  if (run.starts_with("http://") || run.starts_with("https://")) {
    std::string url = run;
    while (!url.empty() && url.back() == '/') url.pop_back();
    return Control{.url = std::move(url)};
  }
  const std::filesystem::path file = std::filesystem::path(run) / "control.json";
  const auto text = ReadFile(file, kControlBytesMax);
  if (!text) {
    return Fail(
        Blame::kOperator,
        "{}: no host of this run is up here (or it runs with --http off, or as another user)",
        file.string());
  }
  const Json control = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!control.is_object() || Word(control, "http").empty())
    return Fail(Blame::kOperator, "{} is damaged: restart the host", file.string());
  return Control{"http://" + Word(control, "http"), Word(control, "token")};
}

Action DefineStatus(CLI::App& app) {
  auto arguments = std::make_shared<StatusArguments>();
  app.add_option("run", arguments->run, "Folder of a run that listens, or its http:// address.")
      ->required();
  app.add_flag("--json", arguments->json, "As JSON, once.");
  app.add_flag("--once", arguments->once,
               "Print the table once; else it is redrawn in a terminal.");
  return [arguments] { return Show(*arguments); };
}

}  // namespace waggle
