#include "training/muon.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/test_models.h"
#include "training/optimizer.h"

namespace waggle {
namespace {

std::vector<float> Direction(std::vector<float> u, std::size_t rows, std::size_t cols,
                             const Ops& ops = BestOps(), unsigned threads = 1) {
  ThreadPool pool(threads);
  Orthogonalise(ops, pool, u.data(), rows, cols);
  return u;
}

void ExpectNear(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(static_cast<double>(got[i]), want[i], tolerance) << i;
}

TEST(MuonTest, KnownDirections) {
  ExpectNear(Direction({1, 2, 3, 4}, 2, 2), {-.680661, .825540, .741295, .259440}, 1e-5);
  ExpectNear(Direction({2, 0, 0, 2}, 2, 2), {1.108111, 0, 0, 1.108111}, 1e-5);
  ExpectNear(Direction({1, 0, 2, 0, 1, -1}, 2, 3),
             {.446829, .300970, .592689, .300970, .898284, -.296344}, 1e-5);
  // The transpose of the same matrix gives the transposed direction.
  ExpectNear(Direction({1, 0, 0, 1, 2, -1}, 3, 2),
             {.446829, .300970, .300970, .898284, .592689, -.296344}, 1e-5);
  ExpectNear(Direction({0, 0, 0, 0}, 2, 2), {0, 0, 0, 0}, 0);
}

TEST(MuonTest, KnownSteps) {
  ThreadPool pool(1);
  const std::vector<float> g{1, 2, 3, 4};
  const auto step = [&](float lr, float weight_decay, double scale) {
    std::vector<float> p{.1f, .2f, .3f, .4f}, m(4, 0.0f);
    MuonStep(BestOps(), pool,
             {.p = p.data(),
              .m = m.data(),
              .g = g.data(),
              .rows = 2,
              .cols = 2,
              .lr = lr,
              .weight_decay = weight_decay,
              .update_scale = scale});
    return p;
  };
  ExpectNear(step(.02f, .01f, 1.0), {.113593218, .183449207, .285114090, .394731196}, 2e-7);
  ExpectNear(step(1e-3f, .1f, MoonlightScale(2, 2)),
             {.100182520, .199746502, .299760330, .399886619}, 2e-7);
}

TEST(MuonTest, SameBitsOnEveryTableAndThreadCount) {
  std::vector<float> u(70 * 300);
  for (std::size_t i = 0; i < u.size(); ++i)
    u[i] = static_cast<float>(i * 2654435761u % 1000) / 500.0f - 1.0f;
  const std::vector<float> one = Direction(u, 300, 70);
  for (const Ops* ops : AvailableOps()) EXPECT_EQ(Direction(u, 300, 70, *ops, 2), one) << ops->name;
}

// Only hidden matrices move by Muon: with lr alike, the embedding's step is AdamW's.
TEST(MuonTest, OtherTensorsStayWithAdamW) {
  ThreadPool pool(1);
  const auto stepped = [&](const char* kind) {
    OptimizerConfig config;
    config.kind = kind;
    config.lr = "1e-2";
    const Optimizer optimizer = Optimizer::Create(config, {}).value();
    Parameters p, g;
    for (const char* name : {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"}) {
      p.emplace(name, ZeroTensor({3, 4}));
      g.emplace(name, ZeroTensor({3, 4}));
      for (std::size_t i = 0; i < 12; ++i) g.at(name).data[i] = static_cast<float>(i * i % 7) - 2;
    }
    OptimizerState state = Optimizer::InitialState(p);
    optimizer.Step(BestOps(), pool, g, 1.0, 0.0, p, state);
    return p;
  };
  const Parameters adamw = stepped("adamw"), muon = stepped("muon");
  EXPECT_EQ(adamw.at("model.embed_tokens.weight").data, muon.at("model.embed_tokens.weight").data);
  EXPECT_NE(adamw.at("model.layers.0.mlp.up_proj.weight").data,
            muon.at("model.layers.0.mlp.up_proj.weight").data);
}

}  // namespace
}  // namespace waggle
