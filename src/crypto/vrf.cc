#include "crypto/vrf.h"

#include <sodium.h>

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

using Point = std::array<std::uint8_t, 32>;
using Scalar = std::array<std::uint8_t, 32>;
using Hash512 = std::array<std::uint8_t, 64>;

constexpr std::uint8_t kSuite = 3;

class Sha512 {
 public:
  Sha512() { crypto_hash_sha512_init(&state_); }
  Sha512& Byte(std::uint8_t byte) { return Update(std::span(&byte, 1)); }
  Sha512& Update(std::span<const std::uint8_t> bytes) {
    crypto_hash_sha512_update(&state_, bytes.data(), bytes.size());
    return *this;
  }
  Hash512 Finish() {
    Hash512 out;
    crypto_hash_sha512_final(&state_, out.data());
    sodium_memzero(&state_, sizeof state_);
    return out;
  }

 private:
  crypto_hash_sha512_state state_;
};

// y below 2^255 - 19: RFC 8032 decodes nothing else.
bool IsCanonical(const Point& p) {
  if ((p[31] & 0x7f) != 0x7f) return true;
  for (std::size_t i = 30; i > 0; --i)
    if (p[i] != 0xff) return true;
  return p[0] < 0xed;
}

// 8 p; false if p does not decode or that is the neutral point. Doubling, because libsodium's
// multiplication takes points of the prime-order group only.
bool TimesCofactor(Point& p) {
  if (!IsCanonical(p)) return false;
  for (int i = 0; i < 3; ++i)
    if (crypto_core_ed25519_add(p.data(), p.data(), p.data()) != 0) return false;
  return p != Point{1};
}

// Try and increment: about two tries each time.
Point EncodeToCurve(const Ed25519Public& public_key, std::span<const std::uint8_t> alpha) {
  for (int counter = 0; counter < 256; ++counter) {
    const Hash512 hash = Sha512()
                             .Byte(kSuite)
                             .Byte(1)
                             .Update(public_key)
                             .Update(alpha)
                             .Byte(static_cast<std::uint8_t>(counter))
                             .Byte(0)
                             .Finish();
    Point point;
    std::copy_n(hash.begin(), point.size(), point.begin());
    if (TimesCofactor(point)) return point;
  }
  Check(false, "one of 256 hashes is a point");
  return {};
}

Scalar Challenge(const Point& y, const Point& h, const Point& gamma, const Point& u,
                 const Point& v) {
  const Hash512 hash = Sha512()
                           .Byte(kSuite)
                           .Byte(2)
                           .Update(y)
                           .Update(h)
                           .Update(gamma)
                           .Update(u)
                           .Update(v)
                           .Byte(0)
                           .Finish();
  Scalar c{};
  std::copy_n(hash.begin(), 16, c.begin());
  return c;
}

VrfOutput Output(Point gamma) {
  Check(TimesCofactor(gamma), "a point of the prime-order group is no small one");
  return Sha512().Byte(kSuite).Byte(3).Update(gamma).Byte(0).Finish();
}

// p - q for a = s p, b = c q; false where libsodium refuses (a point outside the group, a zero).
bool Difference(Point& out, const Point& a, const Scalar& c, const Point& q) {
  Point b;
  return crypto_scalarmult_ed25519_noclamp(b.data(), c.data(), q.data()) == 0 &&
         crypto_core_ed25519_sub(out.data(), a.data(), b.data()) == 0;
}

}  // namespace

VrfProof VrfProve(const SecretBytes& secret, std::span<const std::uint8_t> alpha) {
  StartSodium();
  Check(secret.size() == crypto_sign_SECRETKEYBYTES, "a secret key proves");
  Ed25519Public y;
  std::copy_n(secret.data() + 32, y.size(), y.begin());
  const Point h = EncodeToCurve(y, alpha);

  Hash512 hashed = Sha512().Update(std::span(secret.data(), 32)).Finish();
  Hash512 nonce = Sha512().Update(std::span(hashed).last<32>()).Update(h).Finish();
  Hash512 clamped{};
  std::copy_n(hashed.begin(), 32, clamped.begin());
  clamped[0] &= 248;
  clamped[31] = static_cast<std::uint8_t>((clamped[31] & 127) | 64);
  Scalar x, k;
  crypto_core_ed25519_scalar_reduce(x.data(), clamped.data());
  crypto_core_ed25519_scalar_reduce(k.data(), nonce.data());

  Point gamma, u, v;
  bool done = crypto_scalarmult_ed25519_noclamp(gamma.data(), x.data(), h.data()) == 0;
  done = done && crypto_scalarmult_ed25519_base_noclamp(u.data(), k.data()) == 0;
  done = done && crypto_scalarmult_ed25519_noclamp(v.data(), k.data(), h.data()) == 0;
  Check(done, "neither the key nor the nonce is zero");
  const Scalar c = Challenge(y, h, gamma, u, v);
  Scalar s;
  crypto_core_ed25519_scalar_mul(s.data(), c.data(), x.data());
  crypto_core_ed25519_scalar_add(s.data(), s.data(), k.data());
  for (auto* secret_bytes : {&hashed, &nonce, &clamped})
    sodium_memzero(secret_bytes->data(), secret_bytes->size());
  for (auto* secret_scalar : {&x, &k}) sodium_memzero(secret_scalar->data(), secret_scalar->size());

  VrfProof proof;
  std::ranges::copy(gamma, proof.begin());
  std::copy_n(c.begin(), 16, proof.begin() + 32);
  std::ranges::copy(s, proof.begin() + 48);
  return proof;
}

Result<VrfOutput> VrfVerify(const Ed25519Public& public_key, std::span<const std::uint8_t> alpha,
                            const VrfProof& proof) {
  StartSodium();
  const auto refuse = [](const char* why) { return Fail(Blame::kPeer, "a draw's proof: {}", why); };
  if (!IsEd25519Public(public_key)) return refuse("its key is no key");
  Point gamma;
  Scalar c{}, s;
  std::copy_n(proof.begin(), 32, gamma.begin());
  std::copy_n(proof.begin() + 32, 16, c.begin());
  std::copy_n(proof.begin() + 48, 32, s.begin());
  if (!IsEd25519Public(gamma)) return refuse("its point is outside the group");
  Hash512 wide{};
  std::ranges::copy(s, wide.begin());
  Scalar reduced;
  crypto_core_ed25519_scalar_reduce(reduced.data(), wide.data());
  if (reduced != s) return refuse("its scalar is not reduced");

  const Point h = EncodeToCurve(public_key, alpha);
  Point sb, sh, u, v;
  const bool made = crypto_scalarmult_ed25519_base_noclamp(sb.data(), s.data()) == 0 &&
                    crypto_scalarmult_ed25519_noclamp(sh.data(), s.data(), h.data()) == 0 &&
                    Difference(u, sb, c, public_key) && Difference(v, sh, c, gamma);
  if (!made || Challenge(public_key, h, gamma, u, v) != c) return refuse("it does not hold");
  return Output(gamma);
}

}  // namespace waggle
