#include "run/task_codec.h"

#include <algorithm>

namespace waggle {

TaskCodec::TaskCodec(const Environment& environment, const Tokenizer& tokenizer,
                     std::vector<TokenId> stop_ids, std::vector<TokenId> prompt_suffix)
    : environment_(&environment),
      tokenizer_(&tokenizer),
      stop_ids_(std::move(stop_ids)),
      prompt_suffix_(std::move(prompt_suffix)) {}

std::vector<TokenId> TaskCodec::PromptTokens(const Task& task) const {
  std::string text;
  for (const Message& message : task.prompt) text += message.content;
  auto tokens = tokenizer_->Encode(text, {.add_special_tokens = true});
  tokens.insert(tokens.end(), prompt_suffix_.begin(), prompt_suffix_.end());
  return tokens;
}

std::vector<TokenId> TaskCodec::TurnTokens(const std::vector<Message>& messages) const {
  std::string text;
  for (const Message& message : messages) text += message.content;
  return tokenizer_->Encode(text);
}

std::string TaskCodec::Text(std::span<const TokenId> tokens) const {
  std::vector<TokenId> kept;
  for (const TokenId id : tokens) {
    if (std::find(stop_ids_.begin(), stop_ids_.end(), id) == stop_ids_.end()) kept.push_back(id);
  }
  return tokenizer_->Decode(kept);
}

Result<std::vector<Message>> TaskCodec::Transcript(const Task& task, const Rollout& rollout) const {
  std::vector<Message> transcript;
  const std::span<const TokenId> tokens = rollout.tokens;
  std::size_t at = 0;
  while (at < tokens.size()) {
    std::size_t end = at;
    while (end < tokens.size() && rollout.loss_mask[end] == 1) ++end;
    if (end == at) return Fail(Blame::kPeer, "token {}: a turn of the policy was expected", at);
    transcript.push_back({.role = Role::kAssistant, .content = Text(tokens.subspan(at, end - at))});
    at = end;
    if (at == tokens.size()) break;
    const auto answer = environment_->Respond(task, transcript);
    const auto expected = TurnTokens(answer);
    if (expected.empty() || expected.size() > tokens.size() - at ||
        !std::equal(expected.begin(), expected.end(), tokens.begin() + at)) {
      return Fail(Blame::kPeer, "token {}: not what the environment answered", at);
    }
    for (std::size_t i = at; i < at + expected.size(); ++i) {
      if (rollout.loss_mask[i] != 0)
        return Fail(Blame::kPeer, "token {}: the environment's token claims a loss", i);
    }
    transcript.insert(transcript.end(), answer.begin(), answer.end());
    at += expected.size();
  }
  if (transcript.empty()) transcript.push_back({.role = Role::kAssistant});
  return transcript;
}

}  // namespace waggle
