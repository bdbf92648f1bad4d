// How the commands that watch or steer a running host find it.
#pragma once

#include <string>

#include "base/result.h"

namespace waggle {

struct Control {
  std::string url;    // "http://host:port"
  std::string token;  // empty for a URL: looking needs none
};

// `run`: an http:// URL, or the folder of a run whose host is up (its control.json).
Result<Control> ControlOf(const std::string& run);

}  // namespace waggle
