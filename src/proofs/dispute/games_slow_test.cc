#include "proofs/dispute/test_random_games.h"

namespace waggle {
namespace {

// Sheet gensyn.md 12 item 16.
TEST(RandomGamesSlow, TenThousand) { testing_dispute::PlayRandomGames(2, 10000); }

}  // namespace
}  // namespace waggle
