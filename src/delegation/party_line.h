// A referee's line to one who answers: connects, and connects again while it is wanted.
#pragma once

#include <memory>

#include "delegation/dispute_wire.h"
#include "net/client.h"
#include "protocol/invite.h"

namespace waggle {

class PartyLine {
 public:
  PartyLine(Invite invite, Clock& clock);

  // The next frame whose signature holds, if one is there within `timeout_ms`. opened: a connection
  // was made since the last call, so that what was said before is to be said again.
  struct Heard {
    std::optional<DisputeFrame> frame;
    bool opened = false;
  };
  Heard Next(const Signer& judge, std::int64_t timeout_ms);
  // False: there is no connection now.
  bool Send(const Bytes& frame);

 private:
  void Connect();

  const Invite invite_;
  Clock& clock_;
  std::unique_ptr<NodeClient> client_;
  bool open_ = false;
  std::size_t host_ = 0;  // that is tried next
  std::int64_t retry_ns_ = 0;
};

}  // namespace waggle
