// Versions on disk, as they arrive when all is well, and when the process dies.
#include "policy/store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "policy/test_store.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr auto V = &PolicyLine::V;

TEST(ShortestChainTest, FewestBytesThenFewestLinks) {
  const auto link = [](std::optional<std::uint64_t> base, std::uint64_t v, std::uint64_t bytes) {
    return PolicyLink{base ? std::optional(V(*base)) : std::nullopt, V(v), bytes};
  };
  const std::vector<PolicyLink> links = {link(3, 4, 10), link({}, 1, 100), link(1, 2, 10),
                                         link(2, 3, 10), link({}, 3, 100), link(1, 4, 25)};
  // Snapshot 3 and one patch: 110 bytes; 1 and the composed one: 125.
  EXPECT_EQ(ShortestChain(links, V(4), {}).value(),
            (std::vector<PolicyLink>{link({}, 3, 100), link(3, 4, 10)}));
  EXPECT_EQ(ShortestChain(links, V(4), V(1)).value(), (std::vector<PolicyLink>{link(1, 4, 25)}));
  EXPECT_EQ(ShortestChain(links, V(3), V(1)).value(),
            (std::vector<PolicyLink>{link(1, 2, 10), link(2, 3, 10)}));
  EXPECT_TRUE(ShortestChain(links, V(4), V(4)).value().empty());
  EXPECT_FALSE(ShortestChain(links, V(5), {}));
  EXPECT_FALSE(ShortestChain({link(1, 2, 10)}, V(2), {}));
  // Equal bytes: one link rather than two.
  EXPECT_EQ(ShortestChain({link(1, 2, 5), link(2, 3, 5), link(1, 3, 10)}, V(3), V(1)).value(),
            (std::vector<PolicyLink>{link(1, 3, 10)}));
}

TEST(PolicyStore, ChunksInAnyOrderAndTwice) {
  PolicyLine line(2);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  const Update full = line.Full(1), delta = line.Delta(1, 2);
  ASSERT_TRUE(store.AddManifest(Encode(delta.manifest), delta.digest()));  // before its base
  ASSERT_TRUE(store.AddManifest(Encode(full.manifest), full.digest()));
  EXPECT_EQ(store.AddChunk(delta.digest(), 0, delta.chunk(0)).value(), ChunkOutcome::kPublished);
  EXPECT_FALSE(store.Newest());  // a patch without its base is nothing yet
  EXPECT_EQ(store.AddChunk(full.digest(), 1, full.chunk(1)).value(), ChunkOutcome::kStored);
  EXPECT_EQ(store.AddChunk(full.digest(), 1, full.chunk(1)).value(), ChunkOutcome::kDuplicate);
  EXPECT_EQ(store.Missing(full.digest()), std::vector<std::size_t>{0});
  EXPECT_FALSE(store.Read({}, V(1)).value());
  EXPECT_FALSE(store.Restore(V(2), line.Form()).value());
  EXPECT_EQ(store.AddChunk(full.digest(), 0, full.chunk(0)).value(), ChunkOutcome::kPublished);
  EXPECT_EQ(store.AddChunk(full.digest(), 0, full.chunk(0)).value(), ChunkOutcome::kDuplicate);
  EXPECT_EQ(store.Newest(), V(2));
  EXPECT_EQ(store.RootOf(V(2)), line.image(2).root());
  EXPECT_TRUE(Holds(store, line, 1));
  EXPECT_TRUE(Holds(store, line, 2));
  EXPECT_EQ(store.AddChunk(Digest256{1}, 0, full.chunk(0)).value(), ChunkOutcome::kUnwanted);
  const auto stored = store.Read({}, V(1)).value();
  EXPECT_TRUE(std::ranges::equal(stored->bytes(), full.payload));
  EXPECT_EQ(stored->manifest, full.manifest);
}

// A late joiner takes one snapshot and one merged patch; who has a version, only patches.
TEST(PolicyStore, LateJoinersTakeTheShortestChain) {
  PolicyLine line(7);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path());
  for (const std::uint64_t v : {1u, 4u}) {
    const Update full = line.Full(v);
    ASSERT_TRUE(store.Publish(full.manifest, full.payload));
  }
  for (std::uint64_t v = 2; v <= 7; ++v) {
    const Update delta = line.Delta(v - 1, v);
    ASSERT_TRUE(store.Publish(delta.manifest, delta.payload));
  }
  for (std::uint64_t v = 1; v <= 7; ++v) EXPECT_TRUE(Holds(store, line, v)) << v;
  const auto from_six = store.Restore(V(7), line.Form(), &line.image(6)).value();
  EXPECT_TRUE(SameBits(*from_six, line.image(7)));
  EXPECT_TRUE(SameBits(*store.Restore(V(6), line.Form(), &line.image(6)).value(), line.image(6)));
  EXPECT_EQ(store.Restore(V(6), line.Form(), &line.image(6)).value()->tensors().at("half").get(),
            line.image(6).tensors().at("half").get());  // nothing was read or copied
  EXPECT_FALSE(store.Restore(V(8), line.Form()).value());
  // Patches of two kinds do not compose; the chain holds all the same.
  TempFolder mixed;
  PolicyStore other = line.Open(mixed.path());
  for (const Update& update :
       {line.Full(1), line.Delta(1, 2), line.Delta(2, 3, PatchMode::kReplace), line.Delta(3, 4)})
    ASSERT_TRUE(other.Publish(update.manifest, update.payload));
  EXPECT_TRUE(Holds(other, line, 4));
}

TEST(PolicyStore, ReopeningFindsWhatArrived) {
  PolicyLine line(2);
  TempFolder folder;
  const Update full = line.Full(1), delta = line.Delta(1, 2);
  {
    PolicyStore store = line.Open(folder.path());
    ASSERT_TRUE(store.AddManifest(Encode(full.manifest), full.digest()));
    ASSERT_TRUE(store.AddChunk(full.digest(), 1, full.chunk(1)));
    ASSERT_TRUE(store.Publish(delta.manifest, delta.payload));
  }
  fs::create_directories(folder.path() / "full-of-somebody-else");
  fs::create_directories(folder.path() / "full-9");  // a version that never was
  std::ofstream(folder.path() / "notes.txt") << "mine";
  PolicyStore store = line.Open(folder.path());
  EXPECT_EQ(store.Missing(full.digest()), std::vector<std::size_t>{0});
  ASSERT_TRUE(store.AddChunk(full.digest(), 0, full.chunk(0)));
  EXPECT_TRUE(Holds(store, line, 2));
  EXPECT_TRUE(fs::exists(folder.path() / "full-of-somebody-else"));
  EXPECT_TRUE(fs::exists(folder.path() / "notes.txt"));
  EXPECT_FALSE(fs::exists(folder.path() / "full-9"));
  EXPECT_FALSE(PolicyStore::Open(folder.path(), Hash256{7}, line.pool()));  // another run's
}

TEST(PolicyStore, AReaderKeepsWhatItHasWhenTheRingMovesOn) {
  PolicyLine line(3);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 1});
  const Update first = line.Full(1), third = line.Full(3);
  ASSERT_TRUE(store.Publish(first.manifest, first.payload));
  const auto held = store.Read({}, V(1)).value();
  ASSERT_TRUE(store.Publish(third.manifest, third.payload));
  EXPECT_FALSE(store.Read({}, V(1)).value());
  EXPECT_TRUE(std::ranges::equal(held->bytes(), first.payload));
}

TEST(PolicyStore, OlderSnapshotsStayWhileThereIsRoom) {
  PolicyLine line(4);
  const Update updates[] = {line.Full(1), line.Full(2), line.Full(3), line.Full(4)};
  const std::uint64_t one = updates[0].payload.size();
  for (const std::uint64_t room : {std::uint64_t{0}, 2 * one, 3 * one, 9 * one}) {
    TempFolder folder;
    PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 2, .spare_bytes = room});
    for (const Update& update : updates)
      ASSERT_TRUE(store.Publish(update.manifest, update.payload));
    EXPECT_EQ(store.Read({}, V(2)).value().has_value(), room >= 3 * one) << room;
    EXPECT_EQ(store.Read({}, V(1)).value().has_value(), room >= 4 * one) << room;
    EXPECT_TRUE(store.Read({}, V(3)).value());
  }
}

TEST(PolicyStore, WhatIsHeldStaysWithinItsRoom) {
  PolicyLine line(5);
  const Update updates[] = {line.Full(1), line.Full(2), line.Full(3), line.Full(4)};
  const std::uint64_t one = updates[0].payload.size();
  TempFolder folder, small;
  PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 1, .held_bytes = 9 * one});
  PolicyStore narrow = line.Open(small.path(), {.snapshots_kept = 1, .held_bytes = 2 * one});
  for (const Update& update : updates) {  // held from the beginning, until told otherwise
    ASSERT_TRUE(store.Publish(update.manifest, update.payload));
    ASSERT_TRUE(narrow.Publish(update.manifest, update.payload));
  }
  EXPECT_TRUE(store.Read({}, V(1)).value());
  EXPECT_FALSE(narrow.Read({}, V(2)).value());
  EXPECT_TRUE(narrow.Read({}, V(3)).value());
  store.Hold(V(3));
  const Update fifth = line.Full(5);
  ASSERT_TRUE(store.Publish(fifth.manifest, fifth.payload));
  EXPECT_FALSE(store.Read({}, V(2)).value());
  EXPECT_TRUE(store.Read({}, V(3)).value());
}

TEST(PolicyStore, LimitsAreKept) {
  PolicyLine line(4);
  TempFolder folder;
  PolicyStore store = line.Open(folder.path(), {.payload_bytes_max = 5000, .incoming_max = 1});
  const Update full = line.Full(1), one = line.Delta(1, 2), two = line.Delta(2, 3);
  EXPECT_EQ(store.AddManifest(Encode(full.manifest), full.digest()).error().blame, Blame::kPeer);
  ASSERT_TRUE(store.AddManifest(Encode(one.manifest), one.digest()));
  EXPECT_EQ(store.AddManifest(Encode(two.manifest), two.digest()).error().blame, Blame::kOperator);
  EXPECT_FALSE(PolicyStore::Open(folder.path(), line.Run(), line.pool(), {.snapshots_kept = 0}));
}

// Fetches versions 1..last in a scrambled order of chunks, snapshots every third.
int FetchAll(const fs::path& root, PolicyLine& line, std::uint64_t last) {
  PolicyStore store = line.Open(root, {.snapshots_kept = 2});
  for (std::uint64_t v = 1; v <= last; ++v) {
    std::vector<Update> updates;
    if (v % 3 == 1) updates.push_back(line.Full(v));
    if (v > 1) updates.push_back(line.Delta(v - 1, v));
    for (const Update& update : updates) {
      const Status added = store.AddManifest(Encode(update.manifest), update.digest());
      if (!added && added.error().blame == Blame::kOperator) continue;  // the ring is further on
      if (!added) return 1;
      std::vector<std::size_t> missing = store.Missing(update.digest());
      std::ranges::reverse(missing);
      for (const std::size_t i : missing)
        if (!store.AddChunk(update.digest(), i, update.chunk(i))) return 2;
    }
  }
  return store.Newest() == V(last) ? 0 : 3;
}

TEST(PolicyStore, KilledAtAnyMomentItHoldsWholeVersionsOnly) {
  constexpr std::uint64_t kLast = 12;
  PolicyLine line(kLast);
  TempFolder folder;
  Rng rng(static_cast<std::uint64_t>(::getpid()));
  int kills = 0;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const pid_t child = ::fork();
    if (child == 0) {
      PolicyLine fresh(kLast);
      ::_exit(FetchAll(folder.path(), fresh, kLast));
    }
    ::usleep(300 + rng.Below(1000) + static_cast<unsigned>(attempt) * 300);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ++kills;
    PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 2});
    for (const PolicyLink& link : store.Links()) {
      const auto read = store.Read(link.base, link.version);
      ASSERT_TRUE(read) << read.error().what;
      ASSERT_TRUE(*read);
    }
    if (const auto newest = store.Newest()) {
      ASSERT_TRUE(Holds(store, line, newest->value));
    }
  }
  EXPECT_GT(kills, 0);
  ASSERT_EQ(FetchAll(folder.path(), line, kLast), 0);
  PolicyStore store = line.Open(folder.path(), {.snapshots_kept = 2});
  for (std::uint64_t v = 7; v <= kLast; ++v) EXPECT_TRUE(Holds(store, line, v)) << v;
  EXPECT_TRUE(fs::is_empty(folder.path() / "incoming"));
}

}  // namespace
}  // namespace waggle
