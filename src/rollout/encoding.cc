#include "rollout/encoding.h"

#include <cstring>
#include <string_view>

#include "rollout/fields.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, GroupRecord>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v(2, "group", x.group);
}

namespace {

template <class T>
Result<T> DecodeValue(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
  auto value = WireDecode<T>(bytes, kWire.message_bytes_max, offset);
  if (!value) return Forward({Blame::kPeer, std::move(value.error().what)});
  return std::move(*value);
}

}  // namespace

Bytes Encode(const Lease& lease) { return WireEncode(lease, kWire.message_bytes_max); }
Bytes Encode(const Group& group) { return WireEncode(group, kWire.message_bytes_max); }
Result<Lease> DecodeLease(std::span<const std::uint8_t> bytes) { return DecodeValue<Lease>(bytes); }
Result<Group> DecodeGroup(std::span<const std::uint8_t> bytes) { return DecodeValue<Group>(bytes); }

Bytes EncodeRecords(std::span<const GroupRecord> records) {
  Bytes out(kRecordsMagic.begin(), kRecordsMagic.end());
  WireWriter writer(out, kWire.message_bytes_max);
  for (const GroupRecord& record : records) writer.Framed(record);
  return out;
}

Result<std::vector<GroupRecord>> DecodeRecords(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kRecordsMagic.size() ||
      std::memcmp(bytes.data(), kRecordsMagic.data(), kRecordsMagic.size()) != 0) {
    return Fail(Blame::kPeer, "not a file of rollout groups: it does not begin with {}",
                kRecordsMagic);
  }
  std::vector<GroupRecord> records;
  for (std::size_t at = kRecordsMagic.size(); at < bytes.size();) {
    if (bytes.size() - at < 4)
      return Fail(Blame::kPeer, "record {} at byte {}: cut inside its length", records.size(), at);
    const std::size_t length = WireLength(bytes.subspan(at).first<4>());
    at += 4;
    if (length > bytes.size() - at)
      return Fail(Blame::kPeer, "record {} at byte {}: runs past the end", records.size(), at);
    WG_ASSIGN(GroupRecord record, DecodeValue<GroupRecord>(bytes.subspan(at, length), at));
    records.push_back(std::move(record));
    at += length;
  }
  return records;
}

}  // namespace waggle
