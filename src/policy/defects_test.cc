// Defects that other systems' weight distribution has, as tests that ours does not: sheets
// gradient.md 1.5, prime.md 5 and 13.4, grail.md 9.3. Named after the defect.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "policy/replica.h"
#include "policy/test_store.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr auto V = &PolicyLine::V;

void ExpectPeer(const Status& status, const char* part) {
  ASSERT_FALSE(status) << part;
  EXPECT_EQ(status.error().blame, Blame::kPeer) << status.error().what;
  EXPECT_NE(status.error().what.find(part), std::string::npos) << status.error().what;
}
Status Advance(PolicyReplica& replica, PolicyLine& line, const Update& update) {
  return replica.Advance(update.manifest, update.payload, line.pool());
}
Status AddChunk(PolicyStore& store, const Update& update, std::size_t i,
                std::span<const std::uint8_t> bytes) {
  const auto outcome = store.AddChunk(update.digest(), i, bytes);
  if (!outcome) return Forward(outcome.error());
  return {};
}

// gradient.md 1.5 "torn policy", "mixed-version rollouts carry one tag": while versions are swapped
// and forgeries are tried, whoever samples has the bits of exactly one version, under its number.
TEST(Defects, TornPolicyAndMixedVersionTag) {
  constexpr std::uint64_t kLast = 40;
  PolicyLine line(kLast);
  PolicyReplica replica(line.Form());
  ASSERT_TRUE(Advance(replica, line, line.Full(1)));
  std::atomic<bool> done = false;
  std::atomic<int> looks = 0, wrong = 0;
  std::vector<std::thread> samplers;
  for (int t = 0; t < 2; ++t) {
    samplers.emplace_back([&] {
      std::uint64_t last = 0;
      while (!done || looks == 0) {
        const auto held = replica.Current();
        const PolicyImage& truth = line.image(held->version.value);
        wrong += SameBits(held->image, truth) && held->version.value >= last ? 0 : 1;
        last = held->version.value;
        ++looks;
      }
    });
  }
  for (std::uint64_t v = 2; v <= kLast; ++v) {
    Update forged = line.Delta(v - 1, v);
    forged.payload.back() ^= 0x80;
    EXPECT_FALSE(Advance(replica, line, forged));
    EXPECT_TRUE(Advance(replica, line, line.Delta(v - 1, v)));
  }
  done = true;
  for (std::thread& sampler : samplers) sampler.join();
  EXPECT_GT(looks.load(), 0);
  EXPECT_EQ(wrong.load(), 0);
}

// gradient.md 1.5 "partial application": what is missing is not replaced by what was there before.
TEST(Defects, PartialApplication) {
  PolicyLine line(2);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(1);
  ASSERT_TRUE(store.AddManifest(Encode(full.manifest), full.digest()));
  ASSERT_TRUE(AddChunk(store, full, 1, full.chunk(1)));
  EXPECT_FALSE(store.Restore(V(1), line.Form()).value());
  EXPECT_FALSE(store.Newest());
  // Half of the tensors of a delta.
  PolicyReplica replica(line.Form());
  ASSERT_TRUE(Advance(replica, line, full));
  const auto before = replica.Current();
  Update half = line.Delta(1, 2);
  half.payload.resize(half.payload.size() / 2);
  EXPECT_FALSE(Advance(replica, line, half));
  EXPECT_EQ(replica.Current(), before);
}

// gradient.md 1.5 "lost announcement": hearing of a version again, or of a later one first, is
// fine.
TEST(Defects, LostAnnouncement) {
  PolicyLine line(3);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update one = line.Full(1), two = line.Delta(1, 2), three = line.Delta(2, 3);
  ASSERT_TRUE(store.Publish(one.manifest, one.payload));
  ASSERT_TRUE(store.Publish(three.manifest, three.payload));
  EXPECT_EQ(store.Newest(), V(1));
  for (int again = 0; again < 3; ++again)
    ASSERT_TRUE(store.AddManifest(Encode(two.manifest), two.digest()));
  ASSERT_TRUE(store.Publish(two.manifest, two.payload));
  ASSERT_TRUE(store.AddManifest(Encode(two.manifest), two.digest()));
  EXPECT_EQ(store.Newest(), V(3));
  EXPECT_TRUE(Holds(store, line, 3));
}

// gradient.md 1.5 "retention leak": what leaves the ring leaves the disk.
TEST(Defects, RetentionLeak) {
  PolicyLine line(30);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 2});
  for (std::uint64_t v = 1; v <= 30; ++v) {
    if (v % 5 == 0) {
      const Update full = line.Full(v);
      ASSERT_TRUE(store.Publish(full.manifest, full.payload));
    }
    const Update stuck = line.Delta(v == 1 ? 1 : v - 1, v == 1 ? 2 : v);
    ASSERT_TRUE(store.Publish(stuck.manifest, stuck.payload));
  }
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    names.insert(entry.path().filename().string());
  EXPECT_EQ(names,
            (std::set<std::string>{"full-25", "full-30", "incoming", "patch-25-26", "patch-26-27",
                                   "patch-27-28", "patch-28-29", "patch-29-30"}));
  for (std::uint64_t v = 25; v <= 30; ++v) EXPECT_TRUE(Holds(store, line, v));
  EXPECT_FALSE(store.Restore(V(24), line.Form()).value());
}

// prime.md 5 "no per-shard hash": one bad byte costs one chunk, from wherever the next one comes.
TEST(Defects, OneBadByteCostsTheWholeFile) {
  PolicyLine line(1);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(1);
  ASSERT_TRUE(store.AddManifest(Encode(full.manifest), full.digest()));
  Bytes bad(full.chunk(0).begin(), full.chunk(0).end());
  bad[1234] ^= 1;
  ExpectPeer(AddChunk(store, full, 0, bad), "forged");
  ASSERT_TRUE(AddChunk(store, full, 1, full.chunk(1)));
  EXPECT_EQ(store.Missing(full.digest()), std::vector<std::size_t>{0});
  ASSERT_TRUE(AddChunk(store, full, 0, full.chunk(0)));
  EXPECT_TRUE(Holds(store, line, 1));
}

// prime.md 5 "the distribution file is unsigned": only the manifest that was announced counts.
TEST(Defects, UnsignedDistributionFile) {
  PolicyLine line(2);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update honest = line.Full(1), other = line.Full(2);
  ExpectPeer(store.AddManifest(Encode(other.manifest), honest.digest()), "announced");
  Update foreign = honest;
  foreign.manifest.run = {8};
  ExpectPeer(store.AddManifest(Encode(foreign.manifest), foreign.digest()), "run");
}

TEST(Defects, TruncatedShard) {
  PolicyLine line(1);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(1);
  ASSERT_TRUE(store.AddManifest(Encode(full.manifest), full.digest()));
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, full.chunk(0).size() - 1})
    ExpectPeer(AddChunk(store, full, 0, full.chunk(0).first(size)), "bytes instead of");
  Bytes longer(full.chunk(1).begin(), full.chunk(1).end());
  longer.push_back(0);
  ExpectPeer(AddChunk(store, full, 1, longer), "bytes instead of");
  ExpectPeer(AddChunk(store, full, 2, full.chunk(1)), "which has 2");
  ExpectPeer(AddChunk(store, full, 1, full.chunk(0)), "bytes instead of");  // swapped
}

// The right bytes under another version's number.
TEST(Defects, MislabelledVersion) {
  PolicyLine line(4);
  PolicyReplica replica(line.Form());
  Update labelled = line.Full(2);
  labelled.manifest = line.Make({.run = line.Run(), .version = V(3), .root = line.image(3).root()},
                                labelled.payload)
                          .manifest;
  ExpectPeer(Advance(replica, line, labelled), "its payload from");
  // And a payload that claims the root in its own head too.
  std::ranges::copy(line.image(3).root(), labelled.payload.begin() + 37);
  ExpectPeer(Advance(replica, line, labelled), "new root");
  EXPECT_EQ(replica.Current(), nullptr);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(2);
  ASSERT_TRUE(store.Publish(full.manifest, full.payload));
  Update wrong = line.Delta(1, 2);  // version 2 by number, another policy by root
  wrong.manifest.root = line.image(4).root();
  ExpectPeer(store.AddManifest(Encode(wrong.manifest), wrong.digest()), "root");
}

TEST(Defects, WrongBase) {
  PolicyLine line(3);
  PolicyReplica replica(line.Form());
  EXPECT_FALSE(Advance(replica, line, line.Delta(1, 2)));  // nothing is held
  ASSERT_TRUE(Advance(replica, line, line.Full(1)));
  const auto other_version = Advance(replica, line, line.Delta(2, 3));
  EXPECT_EQ(other_version.error().blame, Blame::kOperator);
  // Its number fits, its root does not: a patch of another chain.
  Update forged = line.Delta(2, 3);
  forged.manifest.base = V(1);
  EXPECT_FALSE(Advance(replica, line, forged));
  EXPECT_EQ(replica.Current()->version, V(1));
}

TEST(Defects, MissingTensor) {
  PolicyLine line(1);
  PolicyReplica replica(line.Form());
  PolicyImage::Tensors tensors = line.image(1).tensors();
  tensors.erase("scale");
  const PolicyImage smaller(tensors);
  ExpectPeer(Advance(replica, line,
                     line.Make({.run = line.Run(), .version = V(1), .root = smaller.root()},
                               EncodeSnapshot(smaller))),
             "4 of the model's 5 tensors");
}

TEST(Defects, DuplicatedTensor) {
  PolicyLine line(1);
  PolicyReplica replica(line.Form());
  Bytes payload;
  PutPatchHead(payload, kNoRoot, line.image(1).root(), 5);
  for (const char* name : {"bias", "half", "half", "model.a.weight", "scale"}) {
    const ImageTensor& tensor = *line.image(1).tensors().find(std::string_view(name))->second;
    PutDense(payload, name, tensor.form, tensor.bits.span());
  }
  ExpectPeer(Advance(replica, line,
                     line.Make({.run = line.Run(), .version = V(1), .root = line.image(1).root()},
                               payload)),
             "tensor half twice");
}

TEST(Defects, StaleOverwrite) {
  PolicyLine line(6);
  PolicyReplica replica(line.Form());
  ASSERT_TRUE(Advance(replica, line, line.Full(5)));
  for (const std::uint64_t v : {4u, 5u})
    EXPECT_EQ(Advance(replica, line, line.Full(v)).error().blame, Blame::kOperator);
  EXPECT_EQ(replica.Current()->version, V(5));
  TempFolder folder;
  PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 1});
  const Update five = line.Full(5), four = line.Full(4);
  ASSERT_TRUE(store.Publish(five.manifest, five.payload));
  EXPECT_FALSE(store.AddManifest(Encode(four.manifest), four.digest()));
  // The same version again with other content.
  Update again = line.Make({.run = line.Run(), .version = V(5), .root = line.image(6).root()},
                           EncodeSnapshot(line.image(6)));
  ExpectPeer(store.AddManifest(Encode(again.manifest), again.digest()), "two manifests");
  EXPECT_TRUE(Holds(store, line, 5));
}

// Chunks, or tensors, of two versions under one manifest.
TEST(Defects, MixingTwoVersions) {
  PolicyLine line(3, /*one_in=*/3);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update one = line.Full(1), two = line.Full(2);
  ASSERT_TRUE(store.AddManifest(Encode(one.manifest), one.digest()));
  ASSERT_TRUE(AddChunk(store, one, 0, one.chunk(0)));
  ExpectPeer(AddChunk(store, one, 1, two.chunk(1)), "forged");
  PolicyImage::Tensors mixed = line.image(1).tensors();
  mixed["half"] = line.image(2).tensors().at("half");
  Bytes payload = EncodeSnapshot(PolicyImage(mixed));
  std::ranges::copy(line.image(2).root(), payload.begin() + 37);
  PolicyReplica replica(line.Form());
  ExpectPeer(Advance(replica, line,
                     line.Make({.run = line.Run(), .version = V(2), .root = line.image(2).root()},
                               payload)),
             "new root");
  // Two patches that would meet at one version with two roots.
  const Update delta = line.Delta(1, 2);
  Update elsewhere = line.Delta(2, 3);
  elsewhere.manifest.base_root = line.image(1).root();
  ASSERT_TRUE(store.Publish(delta.manifest, delta.payload));
  ExpectPeer(store.AddManifest(Encode(elsewhere.manifest), elsewhere.digest()), "two chains");
}

// A file that rots after it was published accuses nobody, and can be fetched again.
TEST(Defects, DamageOnDiskIsTheMachines) {
  PolicyLine line(1);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(1);
  const fs::path payload = folder.path() / "full-1" / "payload.bin";
  const std::vector<std::function<void()>> damages = {
      [&] {
        std::fstream file(payload, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(5000);
        file.put(static_cast<char>(full.payload[5000] ^ 4));
      },
      [&] { fs::resize_file(payload, fs::file_size(payload) - 1); }, [&] { fs::remove(payload); }};
  for (const auto& damage : damages) {
    ASSERT_TRUE(store.Publish(full.manifest, full.payload));
    EXPECT_TRUE(Holds(store, line, 1));
    damage();
    const auto restored = store.Restore(V(1), line.Form());
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().blame, Blame::kMachine);
    EXPECT_FALSE(store.Restore(V(1), line.Form()).value());
  }
}

}  // namespace
}  // namespace waggle
