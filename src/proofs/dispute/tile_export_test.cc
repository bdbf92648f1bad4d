#include "proofs/dispute/tile_export.h"

#include "proofs/dispute/test_disputes.h"
#include "proofs/dispute/tile_builder.h"

namespace waggle {
namespace {

using testing_dispute::RolloutGame;

// A dispute about a norm: small, with a sum, a division and a root.
TileExport SomeExport() {
  static RolloutGame game;
  const Program program = game.ProgramAt(0, 1);
  const auto liar = game.Liar(0, 0, 1, RolloutGame::WrongBit(1, 0, 7));
  const auto honest = game.Honest(1);
  auto referee = Referee::Open(game.terms(), game.signer(0), 0);
  RunDispute(*referee, *liar, *honest, game.signer(0), game.signer(1));
  const Referee::DecidedTile* tile = referee->decided_tile();
  EXPECT_NE(tile, nullptr);
  return {tile->what, tile->code, tile->memory, tile->expected};
}

TEST(TileExports, TextLeadsToTheSameTileFromIntegersAlone) {
  const TileExport tile = SomeExport();
  const std::string text = WriteTileExport(tile);
  const auto read = ParseTileExport(text);
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(read->code, tile.code);
  EXPECT_EQ(WriteTileExport(*read), text);
  EXPECT_TRUE(CheckTileExport(*read));
  TileExport wrong = *read;
  wrong.expected[3] ^= 1;
  EXPECT_FALSE(CheckTileExport(wrong));
}

TEST(TileExports, RefusesWhatIsNone) {
  const std::string text = WriteTileExport(SomeExport());
  Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    std::string touched = text;
    const std::uint32_t at = rng.Below(static_cast<std::uint32_t>(text.size()));
    touched[at] = static_cast<char>('0' + rng.Below(10));
    if (rng.Below(4) == 0) touched.resize(at);
    const auto read = ParseTileExport(touched);
    if (!read) {
      EXPECT_EQ(read.error().blame, Blame::kPeer);
      continue;
    }
    (void)CheckTileExport(*read);  // inside of its memory, whatever it says
  }
  for (const char* bad : {"", "{}", "[]", R"({"format":"waggle-tile-1"})"})
    EXPECT_FALSE(ParseTileExport(bad));
}

TEST(TileProgram, HostileProgramsAreRefused) {
  const auto program = [](TileStep step, std::uint32_t cells) {
    TileProgram p;
    p.cells = cells;
    p.steps = {step};
    return Validate(p).has_value();
  };
  TileStep add{TileOp::kAdd, 0, 0, At(0), At(1), At(2), {}};
  EXPECT_TRUE(program(add, 3));
  EXPECT_FALSE(program(add, 2));
  EXPECT_FALSE(program({TileOp::kWiden, 0, 0, At(2), At(0), {}, {}}, 3));
  EXPECT_FALSE(program({TileOp::kLoop, 5, 1, {}, {}, {}, {}}, 3));
  EXPECT_FALSE(program({static_cast<TileOp>(99), 0, 0, {}, {}, {}, {}}, 3));
  TileProgram loops;
  loops.cells = 10;
  TileStep back{TileOp::kMove, 0, 0, {}, {}, {}, {}};
  back.a.base = 9;
  back.a.stride[0] = -3;
  loops.steps = {{TileOp::kLoop, 4, 1, {}, {}, {}, {}}, back};
  EXPECT_TRUE(Validate(loops));
  loops.steps[0].count = 5;
  EXPECT_FALSE(Validate(loops));
  loops.steps[0].count = 1u << 31;
  loops.steps[1].a.stride[0] = 0;
  EXPECT_TRUE(Validate(loops));
  loops.steps.insert(loops.steps.begin(), {TileOp::kLoop, 2, 2, {}, {}, {}, {}});
  EXPECT_FALSE(Validate(loops));  // work
}

}  // namespace
}  // namespace waggle
