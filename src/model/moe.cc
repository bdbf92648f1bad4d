#include "model/moe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/reductions.h"

namespace waggle {
namespace {

// One expert's rows, gathered, with everything its forward computed.
struct ExpertRows {
  const std::uint32_t* slots = nullptr;
  std::size_t rows = 0;
  float *x = nullptr, *gate = nullptr, *up = nullptr, *act = nullptr, *out = nullptr;
};

void RouteRow(Routes& routes, const float* z, const float* p, std::size_t row, const Moe& moe,
              std::vector<std::uint32_t>& order) {
  const std::size_t k = moe.per_token;
  std::iota(order.begin(), order.end(), 0u);
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
      [&](std::uint32_t a, std::uint32_t b) { return z[a] > z[b] || (z[a] == z[b] && a < b); });
  float sum = 0.0f;
  for (std::size_t i = 0; i < k; ++i) sum += p[order[i]];
  routes.chosen_sum[row] = sum;
  for (std::size_t i = 0; i < k; ++i) {
    routes.expert[row * k + i] = order[i];
    routes.weight[row * k + i] = moe.norm_topk ? p[order[i]] / sum : p[order[i]];
  }
}

Routes ComputeRoutes(const Exec& exec, const Moe& moe, const float* x, std::size_t rows) {
  const std::size_t experts = moe.experts.size();
  float* z = exec.ws.moe_logits.Get(rows * experts);
  float* p = exec.ws.moe_p.Get(rows * experts);
  LinearForward(exec, moe.router, z, x, rows);
  exec.ops.SoftmaxRows(exec.ForElements(rows * experts), p, z, rows, experts);
  return Route(z, p, rows, moe);
}

ExpertRows RunExpert(const Exec& exec, const Moe& moe, const Routes& routes, std::size_t e,
                     const float* x) {
  const Expert& expert = moe.experts[e];
  const std::size_t d = expert.gate.in(), ff = expert.gate.out();
  Workspace& ws = exec.ws;
  ExpertRows r;
  r.slots = routes.slots.data() + routes.offsets[e];
  r.rows = routes.offsets[e + 1] - routes.offsets[e];
  if (r.rows == 0) return r;
  r.x = ws.moe_x.Get(r.rows * d);
  r.gate = ws.moe_gate.Get(r.rows * ff);
  r.up = ws.moe_up.Get(r.rows * ff);
  r.act = ws.moe_act.Get(r.rows * ff);
  r.out = ws.moe_out.Get(r.rows * d);
  for (std::size_t i = 0; i < r.rows; ++i) {
    std::memcpy(r.x + i * d, x + r.slots[i] / routes.per_token * d, d * sizeof(float));
  }
  LinearForward(exec, expert.gate, r.gate, r.x, r.rows);
  LinearForward(exec, expert.up, r.up, r.x, r.rows);
  exec.ops.SwiGlu(exec.ForElements(r.rows * ff), r.act, r.gate, r.up, r.rows * ff);
  LinearForward(exec, expert.down, r.out, r.act, r.rows);
  return r;
}

// The pass's token blocks as ranges of one expert's rows; blocks without rows are dropped.
std::vector<std::uint32_t> BlocksOfExpert(const TokenBlocks& blocks, const ExpertRows& r,
                                          std::size_t per_token) {
  std::vector<std::uint32_t> bounds{0};
  std::size_t at = 0;
  for (std::size_t b = 1; b < blocks.bounds.size(); ++b) {
    while (at < r.rows && r.slots[at] / per_token < blocks.bounds[b]) ++at;
    if (at > bounds.back()) bounds.push_back(static_cast<std::uint32_t>(at));
  }
  return bounds;
}

// Backward of one expert; adds its part to dx and writes dLoss/dweight of its slots.
void ExpertBackward(const BackwardPass& pass, const Moe& moe, const Routes& routes, std::size_t e,
                    float* dx, const float* x, const float* dy, std::vector<float>& dweight) {
  const Exec& exec = pass.exec;
  const Expert& expert = moe.experts[e];
  const ExpertRows r = RunExpert(exec, moe, routes, e, x);
  if (r.rows == 0) return;
  const std::size_t d = expert.gate.in(), ff = expert.gate.out(), n = r.rows * d;
  const std::vector<std::uint32_t> blocks = BlocksOfExpert(pass.blocks, r, routes.per_token);
  float* dout = pass.buffers.moe_dout.Get(n);
  float* dact = pass.buffers.moe_dact.Get(r.rows * ff);
  float* dxe = pass.buffers.moe_dx.Get(n);
  float* dxu = pass.buffers.moe_dx_up.Get(n);
  exec.ForElements(n).Run(r.rows, [&](std::size_t i) {
    const std::uint32_t slot = r.slots[i];
    const float* dy_row = dy + slot / routes.per_token * d;
    dweight[slot] = DotD1(dy_row, r.out + i * d, d);
    const float w = routes.weight[slot];
    for (std::size_t c = 0; c < d; ++c) dout[i * d + c] = w * dy_row[c];
  });
  LinearBackward(pass, expert.down, r.act, dout, r.rows, blocks, dact);
  exec.ops.SwiGluBackward(exec.ForElements(r.rows * ff), r.gate, r.up, r.gate, r.up, dact,
                          r.rows * ff);
  LinearBackward(pass, expert.gate, r.x, r.gate, r.rows, blocks, dxe);
  LinearBackward(pass, expert.up, r.x, r.up, r.rows, blocks, dxu);
  exec.ForElements(n).Run(r.rows, [&](std::size_t i) {
    float* dx_row = dx + r.slots[i] / routes.per_token * d;
    for (std::size_t c = 0; c < d; ++c) {
      const float both = dxe[i * d + c] + dxu[i * d + c];
      dx_row[c] = dx_row[c] + both;
    }
  });
}

// dz (experts) of one row from the gradients of its chosen weights.
void RouterRowBackward(const Moe& moe, const Routes& routes, std::size_t row, const float* p,
                       const float* dweight, float* dz) {
  const std::size_t k = moe.per_token;
  const std::uint32_t* chosen = routes.expert.data() + row * k;
  const float* w = routes.weight.data() + row * k;
  const float* dw = dweight + row * k;
  std::fill(dz, dz + moe.experts.size(), 0.0f);
  float b = 0.0f;
  for (std::size_t i = 0; i < k; ++i) b = std::fma(dw[i], w[i], b);
  for (std::size_t i = 0; i < k; ++i) {
    dz[chosen[i]] = moe.norm_topk ? (dw[i] - b) / routes.chosen_sum[row] : dw[i];  // dp for now
  }
  std::vector<std::uint32_t> ascending(chosen, chosen + k);
  std::sort(ascending.begin(), ascending.end());
  float b2 = 0.0f;
  for (const std::uint32_t e : ascending) b2 = std::fma(dz[e], p[e], b2);
  for (std::size_t e = 0; e < moe.experts.size(); ++e) dz[e] = p[e] * (dz[e] - b2);
}

}  // namespace

Routes Route(const float* z, const float* p, std::size_t rows, const Moe& moe) {
  const std::size_t experts = moe.experts.size(), k = moe.per_token;
  Routes routes;
  routes.per_token = k;
  routes.expert.resize(rows * k);
  routes.weight.resize(rows * k);
  routes.chosen_sum.resize(rows);
  routes.offsets.assign(experts + 1, 0);
  routes.slots.resize(rows * k);
  std::vector<std::uint32_t> order(experts);
  for (std::size_t row = 0; row < rows; ++row) {
    RouteRow(routes, z + row * experts, p + row * experts, row, moe, order);
  }
  for (const std::uint32_t e : routes.expert) ++routes.offsets[e + 1];
  for (std::size_t e = 0; e < experts; ++e) routes.offsets[e + 1] += routes.offsets[e];
  std::vector<std::uint32_t> next(routes.offsets.begin(), routes.offsets.end() - 1);
  for (std::uint32_t slot = 0; slot < rows * k; ++slot)
    routes.slots[next[routes.expert[slot]]++] = slot;
  return routes;
}

void MoeForward(const Exec& exec, const Moe& moe, float* y, const float* x, std::size_t rows) {
  const std::size_t d = moe.router.in();
  const Routes routes = ComputeRoutes(exec, moe, x, rows);
  std::fill(y, y + rows * d, 0.0f);
  // Experts ascending, so every row folds its experts by ascending id.
  for (std::size_t e = 0; e < moe.experts.size(); ++e) {
    const ExpertRows r = RunExpert(exec, moe, routes, e, x);
    if (r.rows == 0) continue;
    exec.ForElements(r.rows * d).Run(r.rows, [&](std::size_t i) {
      const std::uint32_t slot = r.slots[i];
      float* y_row = y + slot / routes.per_token * d;
      exec.ops.ScaleAdd(exec.serial, y_row, r.out + i * d, routes.weight[slot], y_row, d);
    });
  }
}

void MoeBackward(const BackwardPass& pass, const Moe& moe, float* dx, const float* x,
                 const float* dy, std::size_t rows) {
  const Exec& exec = pass.exec;
  const std::size_t d = moe.router.in(), experts = moe.experts.size();
  const Routes routes = ComputeRoutes(exec, moe, x, rows);
  std::vector<float> dweight(rows * moe.per_token);
  std::fill(dx, dx + rows * d, 0.0f);
  for (std::size_t e = 0; e < experts; ++e)
    ExpertBackward(pass, moe, routes, e, dx, x, dy, dweight);
  float* dz = exec.ws.moe_logits.data();  // the logits have done their work
  const float* p = exec.ws.moe_p.data();
  for (std::size_t row = 0; row < rows; ++row) {
    RouterRowBackward(moe, routes, row, p + row * experts, dweight.data(), dz + row * experts);
  }
  float* router_dx = pass.buffers.moe_dx.Get(rows * d);
  LinearBackward(pass, moe.router, x, dz, rows, pass.blocks.bounds, router_dx);
  exec.ops.Add(exec.ForElements(rows * d), dx, dx, router_dx, rows * d);
}

}  // namespace waggle
