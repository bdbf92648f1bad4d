#include "base/result.h"

namespace waggle {

const char* ToString(Blame blame) {
  switch (blame) {
    case Blame::kPeer:
      return "bad input";
    case Blame::kOperator:
      return "usage";
    case Blame::kMachine:
      return "machine fault";
    case Blame::kBug:
      return "bug";
  }
  return "?";
}

}  // namespace waggle
