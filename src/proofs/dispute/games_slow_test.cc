#include "proofs/dispute/test_random_games.h"
#include "proofs/dispute/test_training.h"

namespace waggle {
namespace {

// Sheet gensyn.md 12 item 16.
TEST(RandomGamesSlow, TenThousand) { testing_dispute::PlayRandomGames(2, 10000); }

TEST(RandomGamesSlow, TrainingSteps) { testing_dispute::PlayRandomTrainingGames(2, 500); }

}  // namespace
}  // namespace waggle
