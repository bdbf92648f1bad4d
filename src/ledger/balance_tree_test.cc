// Known answers of sheet markets.md 10 and 10.1: what a contract must compute as well.
#include "ledger/balance_tree.h"

#include <gtest/gtest.h>

#include <string>

#include "base/hex.h"
#include "crypto/keccak.h"

namespace waggle {
namespace {

std::string Keccak(std::string_view text) {
  return ToHex(Keccak256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}
std::string Selector(std::string_view signature) { return Keccak(signature).substr(0, 8); }
EvmAddress Filled(std::uint8_t byte) {
  EvmAddress address;
  address.fill(byte);
  return address;
}
Digest256 Digest(const std::string& hex) {
  const std::string raw = *FromHex(hex);
  Digest256 digest{};
  std::copy(raw.begin(), raw.end(), digest.begin());
  return digest;
}
// ABI words, one after the other, hashed.
struct Abi {
  Bytes bytes;
  Abi& Word(const Digest256& word) {
    bytes.insert(bytes.end(), word.begin(), word.end());
    return *this;
  }
  Abi& Word(std::uint64_t number) {
    Digest256 word{};
    for (int i = 0; i < 8; ++i) word[31 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    return Word(word);
  }
  Abi& Word(const EvmAddress& address) {
    Digest256 word{};
    std::copy(address.begin(), address.end(), word.begin() + 12);
    return Word(word);
  }
  Digest256 Hash() const { return Keccak256(bytes); }
};

TEST(Evm, HashesAndSelectors) {
  EXPECT_EQ(Keccak(""), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
  EXPECT_EQ(Keccak("abc"), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
  EXPECT_EQ(Selector("transfer(address,uint256)"), "a9059cbb");
  EXPECT_EQ(Selector("castVote(uint256,uint8)"), "56781388");
  EXPECT_EQ(Selector("propose(address[],uint256[],bytes[],string)"), "7d5e81e2");
  EXPECT_EQ(Selector("royaltyInfo(uint256,uint256)"), "2a55205a");
  EXPECT_EQ(Selector("claim(address,uint256,bytes32,bytes32[])"), "1d7d4ebc");
  EXPECT_EQ(Selector("commitBatch(uint64,uint64,bytes32,uint32)"), "a94fb951");
  EXPECT_EQ(Keccak("Transfer(address,address,uint256)"),
            "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
}

TEST(Evm, TypedData) {
  const std::string domain_type =
      "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
  EXPECT_EQ(Keccak(domain_type),
            "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");
  const Digest256 domain = Abi{}
                               .Word(Digest(Keccak(domain_type)))
                               .Word(Digest(Keccak("Waggle")))
                               .Word(Digest(Keccak("1")))
                               .Word(31337)
                               .Word(Filled(0x33))
                               .Hash();
  EXPECT_EQ(ToHex(domain), "6f1a6533b87f38377fa4a81c994ba363e7878983af504ebc2a778e57f3534ec6");
  const std::string type = "Commit(uint64 run,uint64 epoch,address worker,bytes32 root)";
  EXPECT_EQ(Keccak(type), "ba10542daa63be62ef36409605d3c07a767769139c7728973ce8b8d1131b0bbd");
  Digest256 root;
  root.fill(0xab);
  const Digest256 structure =
      Abi{}.Word(Digest(Keccak(type))).Word(7).Word(42).Word(Filled(0x11)).Word(root).Hash();
  EXPECT_EQ(ToHex(structure), "8e1965725f19f6389df9e2edb598b2baeb82c0003282cd70ea3be36e06e73fc8");
  Bytes message = {0x19, 0x01};
  message.insert(message.end(), domain.begin(), domain.end());
  message.insert(message.end(), structure.begin(), structure.end());
  EXPECT_EQ(ToHex(Keccak256(message)),
            "608c439ad2b05896581de329bd8d93e18838b89e4c3f4a2af1b2f64a8fab8e0d");
}

TEST(BalanceTree, StandardTreeOfThree) {
  const Digest256 one = BalanceLeaf(Filled(0x11), Credits{100});
  const Digest256 two = BalanceLeaf(Filled(0x22), Credits{200});
  const Digest256 three = BalanceLeaf(Filled(0x33), Credits{300});
  EXPECT_EQ(ToHex(one), "922c8389ffeb7a618b1f9fe2e9a75c76d86291502713033e5951dbad45b3fc31");
  EXPECT_EQ(ToHex(two), "fc0b9d0cc7c164a3e1e85418b826258293d9857a99b368c8913c3d6bac361b66");
  EXPECT_EQ(ToHex(three), "741f1594392f1d13e595d1762b9ed0f61512a52fa854a4e0f9088ed61414f81b");
  const BalanceTree tree({one, two, three});
  EXPECT_EQ(ToHex(tree.root()), "b52cd20b2c205de24be8e0f86b9905eb9287057c606e6a5c06e441781550b365");
  EXPECT_EQ(tree.Prove(one), (std::vector{three, two}));
  EXPECT_EQ(tree.Prove(two), std::vector{Digest("c73072fbbd68ea4dde82d650abdc5ca08d0f28902e19593d"
                                                "7a4b9ee68934c485")});
  EXPECT_EQ(tree.Prove(three), (std::vector{one, two}));
  // 1inch's older leaf: one hash over packed bytes.
  Bytes packed(20, 0x11);
  packed.insert(packed.end(), 31, 0);
  packed.push_back(100);
  EXPECT_EQ(ToHex(Keccak256(packed)),
            "4f2aefca2998f6aa2ab6799857a78dad717148458baa694d613c74251a29f216");
}

TEST(BalanceTree, EveryLeafIsProvenAndNothingElse) {
  std::vector<Digest256> leaves;
  for (std::uint8_t n = 1; n <= 33; ++n) {
    leaves.push_back(BalanceLeaf(Filled(n), Credits{n * 1'000}));
    const BalanceTree tree(leaves);
    for (const Digest256& leaf : leaves) {
      const auto proof = tree.Prove(leaf);
      EXPECT_TRUE(BalanceHolds(tree.root(), leaf, proof));
      EXPECT_FALSE(BalanceHolds(tree.root(), BalanceLeaf(Filled(n), Credits{7}), proof));
      if (!proof.empty()) {
        EXPECT_FALSE(BalanceHolds(tree.root(), leaf, std::span(proof).first(proof.size() - 1)));
      }
    }
    EXPECT_TRUE(tree.Prove(BalanceLeaf(Filled(200), Credits{1})).empty());
  }
}

}  // namespace
}  // namespace waggle
