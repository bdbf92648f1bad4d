// Somebody who answers over loopback, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "delegation/answer_run.h"
#include "delegation/referee_run.h"

namespace waggle::testing_delegation {

// Answers on a thread until it goes out of scope.
class Answering {
 public:
  Answering(Answerer& answerer, std::uint8_t seed, const std::filesystem::path& folder)
      : Answering(answerer, KeyPair::FromSeed(std::array<std::uint8_t, 32>{seed}), folder) {}
  Answering(Answerer& answerer, KeyPair key, const std::filesystem::path& folder)
      : key_(std::move(key)) {
    std::filesystem::create_directories(folder);
    std::promise<std::string> invite;
    auto ready = invite.get_future();
    AnswerOptions options;
    options.listen = "127.0.0.1:0";
    options.folder = folder;
    options.listening = [&](const std::string& line) { invite.set_value(line); };
    options.wants_to_leave = [this] { return leave_.load(); };
    thread_ = std::thread([this, &answerer, options] {
      EXPECT_TRUE(AnswerForRun(options, answerer, key_, SystemClock()));
    });
    invite_ = *ParseInvite(ready.get());
  }
  ~Answering() {
    leave_ = true;
    thread_.join();
  }
  const NodeId& id() const { return key_.id(); }
  RefereeOptions::Party Party(const std::string& name) const { return {name, invite_}; }

 private:
  KeyPair key_;
  std::atomic<bool> leave_{false};
  Invite invite_;
  std::thread thread_;
};

}  // namespace waggle::testing_delegation
