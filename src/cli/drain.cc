// waggle drain: a graceful end of a run that listens, or of one volunteer's part in it.
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/control.h"
#include "http/client.h"

namespace waggle {
namespace {

Status Drain(const std::string& run, const std::string& node) {
  WG_ASSIGN(const Control control, ControlOf(run));
  if (control.token.empty())
    return Fail(Blame::kOperator, "draining needs the run's folder, where its token is, not a URL");
  nlohmann::json order = nlohmann::json::object();
  if (!node.empty()) order["node"] = node;
  WG_TRY(CallForText({.method = HttpMethod::kPost,
                      .url = control.url + "/control/drain",
                      .headers = {{"Authorization", "Bearer " + control.token},
                                  {"Content-Type", "application/json"}},
                      .body = order.dump()},
                     {}));
  if (node.empty()) {
    fmt::print(
        "the host grants nothing more, waits for what is held, saves and ends; `waggle resume` "
        "goes "
        "on\n");
  } else {
    fmt::print("{} finishes what it holds and leaves\n", node);
  }
  return {};
}

}  // namespace

Action DefineDrain(CLI::App& app) {
  auto run = std::make_shared<std::string>(), node = std::make_shared<std::string>();
  app.add_option("run", *run, "Folder of a run that listens.")->required();
  app.add_option("--node", *node, "Only this volunteer: its address, as `waggle status` shows it.");
  return [run, node] { return Drain(*run, *node); };
}

}  // namespace waggle
