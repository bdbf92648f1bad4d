// The volunteer's core against a host that is only a session.
#include "roles/join_core.h"

#include "run/test_echo.h"

namespace waggle {
namespace {

class JoinCoreTest : public EchoTest {
 protected:
  static Hash256 Manifest(std::uint8_t name) {
    Hash256 hash{};
    hash[0] = name;
    return hash;
  }
  SessionNonce Nonce() {
    SessionNonce nonce{};
    nonce[0] = ++nonces_;
    return nonce;
  }
  std::vector<JoinEffect> Step(const JoinEvent& event) {
    std::vector<JoinEffect> effects = core_.Step(now_ += 1'000, event);
    for (const SendOut& out : Only<SendOut>(effects)) {
      const auto message = host_side_->Open(out.bytes);
      EXPECT_TRUE(message);
      heard_.push_back(message.value());
    }
    return effects;
  }
  std::vector<JoinEffect> Hear(NodeMessage message) {
    return Step(FrameHeard{host_side_->Seal(std::move(message))});
  }
  std::vector<JoinEffect> Announce(std::uint64_t version, std::uint8_t manifest) {
    return Hear(PolicyAnnouncement{
        .version = PolicyVersion{version}, .manifest = Manifest(manifest), .sources = {}});
  }
  // A new link, up to the host's Welcome; the chain comes after it.
  void Connect(std::uint64_t version) {
    host_side_.emplace(Session::Acceptor(host_, run_, Nonce()));
    static_cast<void>(Step(LinkDown{}));
    static_cast<void>(Step(LinkUp{}));
    static_cast<void>(Hear(Welcome{.version = PolicyVersion{version}, .heartbeat_ms = 60'000}));
    heard_.clear();
  }
  bool Asked() const {
    return std::any_of(heard_.begin(), heard_.end(), [](const NodeMessage& message) {
      return std::holds_alternative<LeaseRequest>(message);
    });
  }
  // Holds version 2, by way of a snapshot of 0 (manifest 10) and deltas (1, 2).
  void HoldVersionTwo() {
    Connect(2);
    for (const auto& [version, manifest] : {std::pair{0, 10}, {1, 1}, {2, 2}})
      static_cast<void>(
          Announce(static_cast<std::uint64_t>(version), static_cast<std::uint8_t>(manifest)));
    for (std::uint64_t version = 0; version <= 2; ++version)
      static_cast<void>(Step(PolicyLoaded{PolicyVersion{version}}));
    ASSERT_TRUE(Asked());
  }

  std::uint8_t nonces_ = 0;
  Milliseconds now_ = 0;
  const KeyPair host_ = KeyPair::Generate(), key_ = KeyPair::Generate();
  const JoinSettings settings_{
      .software = "test", .environment = "echo", .rollouts_max = 8, .response_tokens_max = 64};
  JoinCore core_{key_, run_, host_.id(), settings_, codec_, [this] { return Nonce(); }};
  std::optional<Session> host_side_ = Session::Acceptor(host_, run_, Nonce());
  std::vector<NodeMessage> heard_;
};

// A tick between two announcements of one chain must not begin a fetch of what is older than what
// is held: it would be loaded after the rest of the chain was struck off, and nothing would follow.
TEST_F(JoinCoreTest, AChainIsHeardToItsEndBeforeItsBeginningIsFetched) {
  HoldVersionTwo();
  Connect(2);
  EXPECT_TRUE(Only<FetchPolicy>(Announce(1, 11)).empty());
  EXPECT_TRUE(Only<FetchPolicy>(Step(JoinTick{100})).empty());
  EXPECT_TRUE(Only<FetchPolicy>(Announce(2, 2)).empty());
  static_cast<void>(Step(JoinTick{100}));
  EXPECT_TRUE(Asked()) << "what it holds was named";
}

TEST_F(JoinCoreTest, AHistoryThatIsNotOursIsFetchedFromItsSnapshot) {
  HoldVersionTwo();
  Connect(2);
  EXPECT_TRUE(Only<FetchPolicy>(Announce(1, 11)).empty());
  EXPECT_TRUE(Only<FetchPolicy>(Announce(2, 22)).empty());
  const auto fetches = Only<FetchPolicy>(Step(JoinTick{100}));
  ASSERT_EQ(fetches.size(), 1u);
  EXPECT_EQ(fetches[0].manifest, Manifest(11));
  EXPECT_EQ(Only<FetchPolicy>(Step(PolicyLoaded{PolicyVersion{1}})).at(0).manifest, Manifest(22));
  EXPECT_TRUE(Only<FetchPolicy>(Step(PolicyLoaded{PolicyVersion{2}})).empty());
  EXPECT_TRUE(Asked());
}

// A host that came back at version 1 makes version 2 again, with the bits that we hold, while its
// snapshot is on the way to us. What arrives is version 1 all the same.
TEST_F(JoinCoreTest, WhatIsOnItsWayReplacesWhatWeHold) {
  HoldVersionTwo();
  Connect(1);
  EXPECT_TRUE(Only<FetchPolicy>(Announce(1, 11)).empty());
  ASSERT_EQ(Only<FetchPolicy>(Step(JoinTick{100})).size(), 1u);
  EXPECT_TRUE(Only<FetchPolicy>(Announce(2, 2)).empty()) << "one at a time";
  const auto next = Only<FetchPolicy>(Step(PolicyLoaded{PolicyVersion{1}}));
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].version, PolicyVersion{2});
  EXPECT_TRUE(Only<FetchPolicy>(Step(PolicyLoaded{PolicyVersion{2}})).empty());
  EXPECT_TRUE(Asked());
}

// A delta that was on its way when the link broke still leads on from what we hold.
TEST_F(JoinCoreTest, AFetchThatOutlivesItsLinkStillCounts) {
  HoldVersionTwo();
  ASSERT_EQ(Only<FetchPolicy>(Announce(3, 3)).size(), 1u);
  Connect(3);
  for (const auto& [version, manifest] : {std::pair{1, 11}, {2, 2}, {3, 3}})
    EXPECT_TRUE(Only<FetchPolicy>(Announce(static_cast<std::uint64_t>(version),
                                           static_cast<std::uint8_t>(manifest)))
                    .empty());
  EXPECT_TRUE(Only<FetchPolicy>(Step(PolicyLoaded{PolicyVersion{3}})).empty());
  EXPECT_TRUE(Asked());
}

}  // namespace
}  // namespace waggle
