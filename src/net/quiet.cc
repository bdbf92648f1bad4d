#include "net/quiet.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string_view>

namespace waggle {
namespace {

void PrintFailedAssertions(gpr_log_func_args* args) {
  if (args->severity == GPR_LOG_SEVERITY_ERROR &&
      std::string_view(args->message).find("assertion") != std::string_view::npos)
    std::fprintf(stderr, "gRPC: %s:%d: %s\n", args->file, args->line, args->message);
}

}  // namespace

void QuietGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Debian's abseil looks for deadlocks at every lock that gRPC takes.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function(PrintFailedAssertions);
  });
}

}  // namespace waggle
