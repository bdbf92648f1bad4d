// Strangers who are no volunteers: one that says nothing at all, and one that speaks the protocol
// and abuses every part of it.
#pragma once

#include <set>

#include "protocol/session.h"
#include "sim/sim_parts.h"

namespace waggle {

// Connects, says nothing, and connects again when it is thrown out.
class SilentStranger final : public SimPeer {
 public:
  SilentStranger(SimParts& parts, PeerIndex peer) : parts_(parts), peer_(peer) {}
  void Boot() override;
  void Kill() override;
  void Up(LinkId link) override;
  void Heard(LinkId, Bytes) override {}
  void Down(LinkId link, const std::string& why) override;

 private:
  SimParts& parts_;
  const PeerIndex peer_;
  bool alive_ = false;
  std::optional<LinkId> link_;
};

// A real session, and in it whatever may not be: groups of leases that are somebody else's, were
// never granted or ended long ago, leases of others given back, requests without end, recordings of
// its own words, torn and changed bytes.
class Rogue final : public SimPeer {
 public:
  Rogue(SimParts& parts, PeerIndex peer, const Signer& key);
  void Boot() override;
  void Kill() override;
  void Up(LinkId link) override;
  void Heard(LinkId link, Bytes bytes) override;
  void Down(LinkId link, const std::string& why) override;

 private:
  void Tick();
  void Say(NodeMessage message);
  void SayBytes(Bytes bytes);
  LeaseId SomeLease();
  Group SomeGroup();
  void Abuse();

  SimParts& parts_;
  const PeerIndex peer_;
  const Signer& key_;
  Rng rng_;
  NonceSource nonces_;
  bool alive_ = false, dialing_ = false;
  std::optional<LinkId> link_;
  std::optional<Session> session_;
  std::set<std::uint64_t> leases_;  // that it was granted once
  std::vector<Bytes> recordings_;
};

}  // namespace waggle
