// Whoever answers: hostile frames, terms that are not its own, slow answers, questions twice.
#include "delegation/answer_desk.h"

#include <gtest/gtest.h>

namespace waggle {
namespace {

constexpr AnswerDesk::Link kLink = 7;
constexpr std::int64_t kSecond = 1'000'000'000;

class AnswerDeskTest : public testing::Test {
 protected:
  AnswerDeskTest()
      : key_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{1})),
        other_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{2})),
        referee_(KeyPair::FromSeed(std::array<std::uint8_t, 32>{3})) {
    program_.kind = DisputeKind::kTraining;
    program_.units = 4;
    terms_.program = program_;
    terms_.a = key_.id();
    terms_.b = other_.id();
    terms_.rules.hash_ns = 60 * kSecond;
    terms_.rules.extensions = 2;
  }
  AnswerDesk Desk(std::vector<NodeId> referees = {}) {
    return AnswerDesk(key_, program_, RunCommit{Digest256{9}, ProgramHash(program_)},
                      std::move(referees), {.disputes_max = 2, .waiting_max = 2});
  }
  static DisputeFrame Only(const AnswerDesk::Effects& effects) {
    EXPECT_EQ(effects.send.size(), 1u);
    EXPECT_TRUE(effects.work.empty());
    if (effects.send.empty()) return {};
    EXPECT_EQ(effects.send[0].link, kLink);
    const KeyPair judge = KeyPair::Generate();
    return OpenFrame(effects.send[0].frame, judge).value();
  }
  static DisputeRefusalCause Refusal(const AnswerDesk::Effects& effects) {
    const DisputeFrame frame = Only(effects);
    EXPECT_EQ(frame.kind, DisputeFrameKind::kRefused);
    return DecodeRefusal(frame.body).value().cause;
  }
  AnswerDesk::Effects Open(AnswerDesk& desk, const DisputeTerms& terms) {
    return desk.OnFrame(kLink, 0,
                        SealFrame(DisputeFrameKind::kOpened, EncodeBody(terms), referee_));
  }
  AnswerDesk::Effects Ask(AnswerDesk& desk, const DisputeRequest& request,
                          AnswerDesk::Link link = kLink) {
    return desk.OnFrame(link, 0, SealFrame(DisputeFrameKind::kAsked, Encode(request), referee_));
  }
  DisputeRequest Question(std::uint32_t round) const {
    DisputeRequest request;
    request.dispute = DisputeId(terms_);
    request.round = round;
    return request;
  }

  KeyPair key_, other_, referee_;
  RunProgram program_;
  DisputeTerms terms_;
};

TEST_F(AnswerDeskTest, SaysWhatItsRunCameTo) {
  AnswerDesk desk = Desk();
  const Digest256 nonce{5};
  const DisputeFrame frame = Only(desk.OnFrame(
      kLink, 0,
      SealFrame(DisputeFrameKind::kCommitmentAsked, Bytes(nonce.begin(), nonce.end()), referee_)));
  EXPECT_EQ(frame.kind, DisputeFrameKind::kCommitment);
  EXPECT_EQ(frame.sender, key_.id());
  EXPECT_EQ(DecodeCommitment(frame.body).value(),
            (Commitment{nonce, ProgramHash(program_), Digest256{9}}));
  EXPECT_EQ(Refusal(desk.OnFrame(
                kLink, 0, SealFrame(DisputeFrameKind::kCommitmentAsked, Bytes(31), referee_))),
            DisputeRefusalCause::kMalformed);
}

TEST_F(AnswerDeskTest, RefusesWhatIsNotForIt) {
  AnswerDesk desk = Desk();
  Bytes frame = SealFrame(DisputeFrameKind::kOpened, EncodeBody(terms_), referee_);
  frame.back() ^= 1;
  EXPECT_EQ(Refusal(desk.OnFrame(kLink, 0, frame)), DisputeRefusalCause::kMalformed);
  EXPECT_EQ(Refusal(desk.OnFrame(kLink, 0, Bytes(40, 3))), DisputeRefusalCause::kMalformed);
  EXPECT_EQ(Refusal(desk.OnFrame(kLink, 0, {})), DisputeRefusalCause::kMalformed);
  DisputeTerms terms = terms_;
  terms.program.units = 5;
  EXPECT_EQ(Refusal(Open(desk, terms)), DisputeRefusalCause::kOtherProgram);
  terms = terms_;
  terms.a = referee_.id();
  EXPECT_EQ(Refusal(Open(desk, terms)), DisputeRefusalCause::kNotMine);
  terms.a = terms.b = key_.id();
  EXPECT_EQ(Refusal(Open(desk, terms)), DisputeRefusalCause::kNotMine);
  terms = terms_;
  terms.rules.steps = 60;
  EXPECT_EQ(Refusal(Open(desk, terms)), DisputeRefusalCause::kRules);
  EXPECT_EQ(Refusal(Ask(desk, Question(1))), DisputeRefusalCause::kUnknownDispute);
  EXPECT_TRUE(Open(desk, terms_).send.empty());
  DisputeRequest request = Question(1);
  request.party = 1;
  EXPECT_EQ(Refusal(Ask(desk, request)), DisputeRefusalCause::kMalformed);
  request = Question(1);
  request.kind = RequestKind::kChildren;
  request.steps = 8;  // an answer that no limit holds
  EXPECT_EQ(Refusal(Ask(desk, request)), DisputeRefusalCause::kMalformed);
  AnswerDesk picky = Desk({other_.id()});
  EXPECT_EQ(Refusal(Open(picky, terms_)), DisputeRefusalCause::kStranger);
}

TEST_F(AnswerDeskTest, GivesResponsesOfItsOwnProgramAlone) {
  AnswerDesk desk(key_, program_, RunCommit{Digest256{9}, ProgramHash(program_)}, {}, {},
                  [](std::uint64_t first) { return first < 3 ? Bytes{7} : Bytes{}; });
  const auto ask = [&](AnswerDesk& of, const ResponsesAsked& asked) {
    return of.OnFrame(kLink, 0,
                      SealFrame(DisputeFrameKind::kResponsesAsked, EncodeBody(asked), referee_));
  };
  const ResponsesAsked good{ProgramHash(program_), 2};
  const DisputeFrame frame = Only(ask(desk, good));
  EXPECT_EQ(frame.kind, DisputeFrameKind::kResponses);
  EXPECT_EQ(DecodeResponsesSaid(frame.body).value(), (ResponsesSaid{2, Bytes{7}}));
  EXPECT_EQ(Refusal(ask(desk, {ProgramHash(program_), 3})), DisputeRefusalCause::kMalformed);
  EXPECT_EQ(Refusal(ask(desk, {Digest256{1}, 0})), DisputeRefusalCause::kOtherProgram);
  AnswerDesk trained = Desk();  // has none
  EXPECT_EQ(Refusal(ask(trained, good)), DisputeRefusalCause::kMalformed);
  AnswerDesk picky = Desk({other_.id()});
  EXPECT_EQ(Refusal(ask(picky, good)), DisputeRefusalCause::kStranger);
}

TEST_F(AnswerDeskTest, AnswersOnceWhereItWasAskedLast) {
  AnswerDesk desk = Desk();
  EXPECT_TRUE(Open(desk, terms_).send.empty());
  const auto first = Ask(desk, Question(1));
  ASSERT_EQ(first.work.size(), 1u);
  EXPECT_TRUE(Ask(desk, Question(1), 8).work.empty());  // the line broke, the work goes on
  EXPECT_EQ(Ask(desk, Question(2)).work.size(), 1u);
  EXPECT_EQ(Refusal(Ask(desk, Question(3))), DisputeRefusalCause::kBusy);
  DisputeReply reply;
  reply.dispute = DisputeId(terms_);
  reply.round = 1;
  const auto answered = desk.OnAnswer(first.work[0].number, reply);
  ASSERT_EQ(answered.send.size(), 1u);
  EXPECT_EQ(answered.send[0].link, 8u);
  const DisputeFrame frame = OpenFrame(answered.send[0].frame, referee_).value();
  EXPECT_EQ(DecodeReply(frame.body).value(), reply);
  EXPECT_TRUE(desk.OnAnswer(first.work[0].number, reply).send.empty());
}

TEST_F(AnswerDeskTest, AsksForMoreTimeAsOftenAsItMay) {
  AnswerDesk desk = Desk();
  EXPECT_TRUE(Open(desk, terms_).send.empty());
  EXPECT_EQ(Ask(desk, Question(1)).work.size(), 1u);
  EXPECT_TRUE(desk.Tick(30 * kSecond).send.empty());
  int asked = 0;
  for (int second = 31; second < 600; ++second) {
    const auto effects = desk.Tick(second * kSecond);
    for (const auto& send : effects.send) {
      const auto reply = DecodeReply(OpenFrame(send.frame, referee_).value().body).value();
      EXPECT_TRUE(reply.extension);
      EXPECT_LT(second, 60 * (asked + 1));  // before it is too late
      ++asked;
    }
  }
  EXPECT_EQ(asked, 2);
}

TEST_F(AnswerDeskTest, ForgetsTheOldestDispute) {
  AnswerDesk desk = Desk();
  EXPECT_TRUE(Open(desk, terms_).send.empty());
  for (std::uint8_t i = 1; i <= 2; ++i) {
    DisputeTerms next = terms_;
    next.nonce[0] = i;
    EXPECT_TRUE(Open(desk, next).send.empty());
  }
  EXPECT_EQ(Refusal(Ask(desk, Question(1))), DisputeRefusalCause::kUnknownDispute);
  EXPECT_TRUE(Open(desk, terms_).send.empty());
  EXPECT_EQ(Ask(desk, Question(1)).work.size(), 1u);
}

}  // namespace
}  // namespace waggle
