// Arbitrary bytes as a frame of a dispute: refused, or one value with one encoding; then the desk
// of whoever answers, which takes what a stranger signed. Answers are never computed here.
#include "base/check.h"
#include "delegation/answer_desk.h"
#include "delegation/response_codec.h"
#include "proofs/dispute/test_credulous.h"

namespace {

template <class T>
void OneEncoding(const waggle::Result<T>& value, const waggle::Bytes& bytes) {
  if (value)
    waggle::Check(waggle::EncodeBody(*value) == bytes, "one value, one encoding");
  else
    waggle::Check(value.error().blame == waggle::Blame::kPeer, "what is malformed is its sender's");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  static const Credulous signer;
  const auto frame = OpenFrame({data, size}, signer);
  if (frame) {
    OneEncoding(DecodeCommitment(frame->body), frame->body);
    OneEncoding(DecodeTerms(frame->body), frame->body);
    OneEncoding(DecodeRefusal(frame->body), frame->body);
    OneEncoding(DecodeResponsesAsked(frame->body), frame->body);
    OneEncoding(DecodeResponsesSaid(frame->body), frame->body);
    if (const auto read = DecodeResponses(frame->body, 8)) {
      Bytes again;
      for (const auto& response : read->responses) AppendResponse(response, again);
      Check(std::equal(again.begin(), again.end(), frame->body.begin()) &&
                again.size() == read->bytes,
            "responses have one encoding");
    }
  }
  // It answers for whatever the terms in the frame say, so that some are its own.
  RunProgram program;
  if (frame && frame->kind == DisputeFrameKind::kOpened) {
    if (const auto terms = DecodeTerms(frame->body)) program = terms->program;
  }
  AnswerDesk desk(signer, program, {}, {});
  for (int i = 0; i < 2; ++i) {
    const auto effects = desk.OnFrame(1, i, {data, size});
    for (const auto& send : effects.send)
      Check(OpenFrame(send.frame, signer).has_value(), "what we say can be read");
    for (const auto& work : effects.work)
      Check(desk.OnAnswer(work.number, std::nullopt).send.empty(), "silence says nothing");
  }
  static_cast<void>(desk.Tick(std::int64_t{1} << 60));
  return 0;
}
