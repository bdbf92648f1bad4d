// Arbitrary bytes as an envelope, as the payload of every kind, and as what reaches a session:
// refused with a reason, or the one encoding of what was read; nothing unsigned is ever opened.
#include "protocol/test_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const std::span<const std::uint8_t> input(data, size);
  const Bytes bytes(input.begin(), input.end());
  const auto envelope = DecodeEnvelope(input);
  if (envelope) {
    Check(Encode(*envelope) == bytes, "one envelope, one encoding");
    Check(EnvelopeVersion(input) == envelope->version, "the version is where it always is");
  }
  const auto payload = envelope ? std::span<const std::uint8_t>(envelope->payload) : input;
  for (const MessageRule& rule : MessageRules()) {
    const auto message = DecodeMessage(rule.kind, payload);
    if (message)
      Check(Encode(*message) == Bytes(payload.begin(), payload.end()), "one message, one encoding");
    else
      Check(message.error().problem != WireProblem::kNone, "a refusal has a cause");
  }
  static TestSession session;
  const auto opened = session.acceptor.Open(input);
  if (opened) Check(envelope && SignatureHolds(input, *envelope), "opened, so it was signed");
  // The same message as an honest sender would sign it, in the session it belongs to.
  if (envelope && envelope->payload.size() < 4096) {
    Envelope again = *envelope;
    const Bytes beat = TestSession().initiator.Seal(Heartbeat{});
    const Envelope good = DecodeEnvelope(beat).value();
    again.version = good.version;
    again.run = good.run;
    again.session = good.session;
    TestSession fresh;
    const auto result = fresh.acceptor.Open(SealEnvelope(again, fresh.worker));
    if (!result) Check(Problem(result.error().refusal).empty(), "a refusal can be sent");
  }
  return 0;
}
