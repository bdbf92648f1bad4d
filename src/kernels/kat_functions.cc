// Known answers of the scalar functions, the generator, and the conversions.
#include <fmt/format.h>

#include "kernels/kat.h"
#include "kernels/math.h"

namespace waggle {
namespace {

struct Point {
  float x;
  std::uint32_t expected;
};

constexpr Point kExpPoints[] = {{0.0f, 0x3f800000},   {-0.0f, 0x3f800000},  {-0.001f, 0x3f7fbe7f},
                                {-0.5f, 0x3f1b4598},  {-1.0f, 0x3ebc5ab2},  {-10.0f, 0x383e6bce},
                                {-50.0f, 0x1b692beb}, {-87.0f, 0x00b33687}, {-87.4f, 0x00000000},
                                {0.7f, 0x4000e153},   {3.0f, 0x41a0af2e},   {88.0f, 0x7ef882b7}};
constexpr Point kLogPoints[] = {{1.0f, 0x00000000},  {1e-30f, 0xc28a27b5},   {0.1f, 0xc0135d8e},
                                {0.75f, 0xbe934b10}, {1.3f, 0x3e86549b},     {2.0f, 0x3f317218},
                                {10.0f, 0x40135d8e}, {151936.0f, 0x413ee641}};
constexpr Point kNegLog1mPoints[] = {{0x1p-32f, 0x2f800000}, {1e-5f, 0x3727c5e3},
                                     {0.25f, 0x3e934b10},    {0.39f, 0x3efd1468},
                                     {0.9f, 0x40135d8d},     {0x1.fffffep-1f, 0x41851592}};
constexpr Point kSigmoidPoints[] = {{-3.0f, 0x3d4241a2}, {0.1f, 0x3f066509}, {5.0f, 0x3f7e4961}};
constexpr Point kSiluPoints[] = {{-3.0f, 0xbe11b139}, {0.1f, 0x3d57080f}, {5.0f, 0x409eeddc}};
constexpr Point kTanhPoints[] = {{-3.0f, 0xbf7ebbe9}, {0.1f, 0x3dcc1ebc}, {5.0f, 0x3f7ffa0d}};
constexpr Point kBf16Points[] = {
    {1.00390625f, 0x3f80}, {1.01171875f, 0x3f82}, {1e-40f, 0x0001}, {65535.0f, 0x4780}};

template <std::size_t N>
void Check(KatRecorder& record, const char* name, const Point (&points)[N],
           float (*function)(float)) {
  for (const Point& p : points) {
    record.Bits(fmt::format("{}({})", name, p.x), p.expected, function(p.x));
  }
}

void CheckPhilox(KatRecorder& record) {
  struct Case {
    PhiloxCounter counter;
    PhiloxKey key;
    PhiloxCounter expected;
  };
  constexpr std::uint32_t kOnes = 0xFFFFFFFFu;
  const Case cases[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                        {{kOnes, kOnes, kOnes, kOnes},
                         {kOnes, kOnes},
                         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0},
                         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Case& c : cases) {
    const PhiloxCounter got = Philox(c.counter, c.key);
    for (std::size_t w = 0; w < 4; ++w)
      record.Integer(fmt::format("philox word {}", w), c.expected[w], got[w]);
  }
  constexpr std::uint32_t kRandom[] = {0xbeaedc2e, 0x3ebd4efe, 0x3ea45032, 0x3e02d8fc};
  for (std::size_t i = 0; i < 4; ++i)
    record.Bits(fmt::format("rnd(1, {})", i), kRandom[i], KatRandom(1, i));
}

// One cell of a rotary table: frequency, cosine and sine (sheet 2.6).
void CheckRopeCell(KatRecorder& record, double theta, int head_dim, int i, int position,
                   std::uint32_t f_bits, std::uint32_t c_bits, std::uint32_t s_bits) {
  const float f = static_cast<float>(Exp64(-((2.0 * i) / head_dim) * Log64(theta)));
  const float angle = static_cast<float>(position) * f;
  const SinCos sc = SinCos64(static_cast<double>(angle));
  record.Bits(fmt::format("rope f({}, {}, {})", theta, head_dim, i), f_bits, f);
  record.Bits(fmt::format("rope cos({})", position), c_bits, static_cast<float>(sc.cos));
  record.Bits(fmt::format("rope sin({})", position), s_bits, static_cast<float>(sc.sin));
}

}  // namespace

void RunFunctionAnswers(KatRecorder& record) {
  CheckPhilox(record);
  Check(record, "exp", kExpPoints, CaExp);
  Check(record, "log", kLogPoints, CaLog);
  Check(record, "neglog1m", kNegLog1mPoints, CaNegLog1m);
  Check(record, "sigmoid", kSigmoidPoints, CaSigmoid);
  Check(record, "silu", kSiluPoints, CaSilu);
  Check(record, "tanh", kTanhPoints, CaTanh);
  CheckRopeCell(record, 1e4, 64, 1, 1000, 0x3f3ff911, 0xbf15a7e1, 0x3f4fb31d);
  CheckRopeCell(record, 1e6, 128, 7, 32767, 0x3e61f836, 0x3ed5848f, 0xbf68ad49);
  for (const Point& p : kBf16Points) {
    record.Integer(fmt::format("bf16({})", p.x), p.expected, Bf16FromFloat(p.x));
  }
  constexpr std::uint32_t kStochastic[] = {0x3f80, 0x3f81, 0x3f81, 0x3f80,
                                           0x3f80, 0x3f81, 0x3f81, 0x3f81};
  for (std::size_t i = 0; i < 8; ++i) {
    record.Integer(fmt::format("stochastic bf16 element {}", i), kStochastic[i],
                   Bf16Stochastic(1.00390625f, i, 1, {0x57616767u, 0x6C650001u}));
  }
}

}  // namespace waggle
