// Between text (environments) and token ids (everybody else). A turn is always appended to the
// exact token stream, never decoded and re-encoded, so what was sampled is what is trained on.
#pragma once

#include <vector>

#include "environments/environment.h"
#include "rollout/rollout.h"
#include "tokenizer/tokenizer.h"

namespace waggle {

class TaskCodec {
 public:
  // Borrows both; they outlive the codec. stop_ids end a turn and are not part of its text;
  // prompt_suffix follows every prompt (a separator that some small models were trained with).
  TaskCodec(const Environment& environment, const Tokenizer& tokenizer,
            std::vector<TokenId> stop_ids, std::vector<TokenId> prompt_suffix = {});

  const Environment& environment() const { return *environment_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::vector<TokenId>& stop_ids() const { return stop_ids_; }

  std::vector<TokenId> PromptTokens(const Task& task) const;
  // Tokens of the environment's or a tool's turn, appended after the policy's.
  std::vector<TokenId> TurnTokens(const std::vector<Message>& messages) const;
  std::string Text(std::span<const TokenId> tokens) const;  // stop ids left out

  // The conversation after the prompt, from the token stream: runs of loss_mask 1 are the policy's
  // turns, the environment's turns are asked from it anew. Fails with Blame::kPeer if the stream's
  // mask-0 tokens are not exactly those.
  Result<std::vector<Message>> Transcript(const Task& task, const Rollout& rollout) const;

 private:
  const Environment* environment_;
  const Tokenizer* tokenizer_;
  std::vector<TokenId> stop_ids_;
  std::vector<TokenId> prompt_suffix_;
};

}  // namespace waggle
