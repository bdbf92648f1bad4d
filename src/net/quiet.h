// gRPC writes to stderr what strangers do wrong, a line or more per attempt: a log that anybody can
// fill. (Internal to net/.)
#pragma once

namespace waggle {

// From now on gRPC says only what it says before it stops the process, unless GRPC_VERBOSITY is
// set.
void QuietGrpc();

}  // namespace waggle
