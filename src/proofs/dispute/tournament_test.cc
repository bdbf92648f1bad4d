#include "proofs/dispute/tournament.h"

#include "proofs/dispute/test_random_games.h"

namespace waggle {
namespace {

using testing_dispute::RolloutGame;

TEST(RandomGames, TheHonestNeverLose) { testing_dispute::PlayRandomGames(1, 200); }

// Five answers, two of them honest, one silent: the honest answer stands.
TEST(Tournament, TheHonestAnswerStands) {
  RolloutGame game;
  struct Entry {
    std::function<std::unique_ptr<RolloutParty>(std::uint8_t side)> party;
    bool silent = false;
  };
  std::vector<Entry> entries;
  for (const std::uint32_t node : {2u, 9u})
    entries.push_back({[&game, node](std::uint8_t side) {
      return game.Liar(side, 0, 1, RolloutGame::WrongBit(node, 0, 1, 20));
    }});
  entries.push_back({[&game](std::uint8_t side) { return game.Honest(side); }, true});
  entries.push_back({[&game](std::uint8_t side) { return game.Honest(side); }});
  entries.push_back({[&game](std::uint8_t side) {
    return game.Liar(side, 4, 0, RolloutGame::WrongBit(4, 0, 1, 20));
  }});
  std::vector<Digest256> commitments;
  for (const Entry& entry : entries) commitments.push_back(entry.party(0)->Commit().units);
  ASSERT_EQ(commitments[2], commitments[3]);
  const auto play = [&](std::size_t i, std::size_t j) {
    const auto a = entries[i].party(0), b = entries[j].party(1);
    testing_dispute::Meddler ma(*a, [&](const DisputeRequest& r, DisputeReply&) {
      return !entries[i].silent || r.round < 3;
    });
    testing_dispute::Meddler mb(*b, [&](const DisputeRequest& r, DisputeReply&) {
      return !entries[j].silent || r.round < 3;
    });
    return game.Play(ma, mb);
  };
  const TournamentResult result = RunTournament(commitments, play);
  ASSERT_TRUE(result.winner);
  EXPECT_EQ(*result.winner, commitments[3]);
  EXPECT_EQ(result.fallen, (std::vector<std::size_t>{0, 1, 2, 4}));
  EXPECT_LE(result.disputes, 4u);
}

TEST(Tournament, AllWrongAllFall) {
  const std::vector<Digest256> commitments{{1}, {2}, {3}};
  const auto play = [](std::size_t, std::size_t b) {
    return DisputeVerdict{.a_loses = true, .b_loses = b == 2, .reason = DisputeCase::kOutput};
  };
  const TournamentResult result = RunTournament(commitments, play);
  EXPECT_FALSE(result.winner);
  EXPECT_EQ(result.disputes, 2u);
  EXPECT_EQ(RunTournament({{7}, {7}}, play).disputes, 0u);
  EXPECT_FALSE(RunTournament({}, play).winner);
}

}  // namespace
}  // namespace waggle
