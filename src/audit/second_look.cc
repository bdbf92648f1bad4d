#include "audit/second_look.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/folders.h"
#include "base/hex.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

Result<AuditItem> ReadItem(const fs::path& path) {
  WG_ASSIGN(const std::string text, ReadFile(path, kProtocol.group_bytes_max));
  auto message = DecodeMessage(MessageKind::kAuditItem,
                               {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  auto* item = message ? std::get_if<AuditItem>(&*message) : nullptr;
  if (item == nullptr || !item->lease || !item->group)
    return Fail(Blame::kMachine, "{} is damaged", path.string());
  return std::move(*item);
}

}  // namespace

// All items of a batch begin with it.
fs::path SecondLook::NameOf(std::uint64_t epoch, const NodeId& worker) const {
  return folder_ / fmt::format("{:08}-{}", epoch, ToHex(worker.value).substr(0, 32));
}

Status SecondLook::Keep(const AuditItem& item) {
  WG_TRY(MakeFolder(folder_));
  const Bytes bytes = Encode(NodeMessage{item});
  const std::string name =
      NameOf(item.epoch, item.worker).string() + fmt::format("-{:06}.item", item.index);
  return WriteFileAtomic(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void SecondLook::Drop(std::uint64_t before) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    std::uint64_t epoch = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), epoch);
    if (bad != std::errc() || end == name.data() + name.size() || *end != '-') continue;
    std::error_code ignored;
    if (epoch < before) fs::remove(entry.path(), ignored);
  }
}

void SecondLook::Begin(const LookAgain& ask) {
  Look look{.ask = ask, .items = {}, .looked = 0, .shows = std::nullopt};
  const std::string begins = NameOf(ask.epoch, ask.worker).filename().string() + "-";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().filename().string().starts_with(begins)) look.items.push_back(entry.path());
  }
  std::ranges::sort(look.items);
  asked_.push_back(std::move(look));
}

// We said that all of a bad one hold, or that one of a good one does not.
std::optional<LookedAgain> SecondLook::Next(
    const std::function<Examination(const AuditItem&)>& examine) {
  if (asked_.empty()) return std::nullopt;
  Look& look = asked_.front();
  using Kind = LookedAgain::Kind;
  const auto end = [&](Kind kind, std::string text) {
    LookedAgain looked{look.ask.epoch, look.ask.worker, kind, std::move(text), std::nullopt, {}};
    if (kind == Kind::kHostErrs) looked = std::move(*look.shows);
    asked_.pop_front();
    return looked;
  };
  if (look.items.empty()) {
    if (look.shows) return end(Kind::kHostErrs, {});
    return look.looked == 0 ? end(Kind::kUnknown, "what was shown is not here any more")
                            : end(Kind::kWeErr, "all of its items hold");
  }
  const auto item = ReadItem(look.items.front());
  look.items.pop_front();
  if (!item) return end(Kind::kUnknown, item.error().what);
  ++look.looked;
  Examination found = examine(*item);
  if (const auto* fault = std::get_if<Fault>(&found.verdict))
    return end(Kind::kUnknown, fault->what);
  const auto* reject = std::get_if<Reject>(&found.verdict);
  const std::string name = fmt::format("its group of lease {}", LeaseName(item->lease->id));
  const std::string why = reject == nullptr ? "" : reject->detail;
  if (reject != nullptr && reject->reason == RejectReason::kFingerprint)
    return end(Kind::kUnknown, name + " is unlikely: " + why);
  if (look.ask.bad && reject != nullptr) return end(Kind::kWeErr, name + " does not hold: " + why);
  if (!look.shows && look.ask.bad == (reject == nullptr)) {
    look.shows = LookedAgain{
        look.ask.epoch,  look.ask.worker,
        Kind::kHostErrs, name + (reject == nullptr ? " holds" : " does not hold: " + why),
        *item,           std::move(found)};
  }
  return std::nullopt;
}

}  // namespace waggle
