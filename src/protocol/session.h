// One conversation between two nodes, as a state machine: seals what one side says, opens what the
// other said. Knows no time, sockets or threads; randomness comes in as a nonce. Either opens a
// message or says, typed, why not.
//
// How it begins. The initiator sends Hello with a nonce of its own as session. The acceptor answers
// Welcome in that session, with a nonce of its own inside. From then on the session is
//   the first 16 bytes of SHA-256("WGL-SESSION-1" | initiator's nonce | acceptor's nonce |
//                                 initiator | acceptor)
// so that neither side can be answered with a conversation of the past, or with one that somebody
// else holds. A recorded Hello still opens a session that nobody can go on with: count a worker as
// here when proven(), not at its Hello.
//
// Sequence numbers: each side numbers its messages from 0; the receiver wants them strictly
// ascending. A number seen before is a replay; a smaller one never seen was overtaken. Gaps are
// fine.
#pragma once

#include <optional>
#include <span>

#include "protocol/envelope.h"
#include "protocol/messages.h"

namespace waggle {

// Why bytes were not opened. `attributable`: the signature held, so the sender said just this; only
// then is it anybody's fault but the line's.
struct Refused {
  Refusal refusal;
  bool attributable = false;
};

class Session {
 public:
  // `key` outlives the session. `nonce` is used for no other session; predictable nonces let
  // conversations be replayed. `peer`: whom the initiator expects, when it knows.
  static Session Initiator(const Signer& key, const Hash256& run, const SessionNonce& nonce,
                           std::optional<NodeId> peer = std::nullopt);
  static Session Acceptor(const Signer& key, const Hash256& run, const SessionNonce& nonce);

  // A key that is gone after this line cannot sign.
  static Session Initiator(KeyPair&&, const Hash256&, const SessionNonce&,
                           std::optional<NodeId> = std::nullopt) = delete;
  static Session Acceptor(KeyPair&&, const Hash256&, const SessionNonce&) = delete;

  // The bytes to send. REQUIRES what the own side may say now (may_send); an acceptor's Welcome
  // gets its nonce here.
  [[nodiscard]] Bytes Seal(NodeMessage message);
  bool may_send(MessageKind kind) const;

  // A refused message changes nothing: the session goes on with the next one.
  [[nodiscard]] tl::expected<NodeMessage, Refused> Open(std::span<const std::uint8_t> bytes);

  bool established() const { return state_ == State::kOpen; }
  // The peer has signed something inside this very session, after both nonces were known.
  bool proven() const { return proven_; }
  // Known once the peer was heard (acceptor: its Hello; initiator: its Welcome).
  const std::optional<NodeId>& peer() const { return peer_; }

 private:
  enum class State : std::uint8_t { kStart, kHello, kOpen };

  Session(bool initiator, const Signer& key, const Hash256& run, const SessionNonce& nonce,
          std::optional<NodeId> peer);
  std::optional<Refusal> CheckPlace(const Envelope& envelope) const;
  std::optional<RefusalKind> CheckSequence(std::uint64_t sequence) const;
  bool Expected(MessageKind kind) const;
  void Note(const Envelope& envelope, const NodeMessage& message);
  void Establish(const SessionNonce& initiator, const SessionNonce& acceptor);

  const bool initiator_;
  const Signer& key_;
  const Hash256 run_;
  const SessionNonce nonce_;
  std::optional<NodeId> peer_;
  State state_ = State::kStart;
  bool proven_ = false;
  SessionNonce session_{};             // of the next message, either way
  std::uint64_t next_ = 0;             // sequence of what is sealed next
  std::optional<std::uint64_t> last_;  // highest opened
  std::uint64_t seen_ = 0;             // bit i: last_ - i was opened
};

}  // namespace waggle
