#include "torrent/swarm_dht.h"

#include <algorithm>
#include <libtorrent/bencode.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/kademlia/ed25519.hpp>
#include <libtorrent/kademlia/item.hpp>

#include "base/hex.h"

namespace waggle {
namespace {

using KeyOfDht = std::tuple<lt::dht::public_key, lt::dht::secret_key>;

KeyOfDht KeyFrom(const std::array<std::uint8_t, 32>& seed) {
  std::array<char, 32> chars;
  std::ranges::transform(seed, chars.begin(), [](std::uint8_t b) { return static_cast<char>(b); });
  return lt::dht::ed25519_create_keypair(chars);
}

template <class T>
std::string Text(const T& bytes) {
  return {bytes.begin(), bytes.end()};
}

// The bytes of a text in the item; false: not there, or not as many.
template <std::size_t kSize>
bool Read(const lt::entry& item, const char* name, std::array<std::uint8_t, kSize>& out) {
  const lt::entry* found = item.find_key(name);
  if (found == nullptr || found->type() != lt::entry::string_t || found->string().size() != kSize)
    return false;
  std::ranges::transform(found->string(), out.begin(),
                         [](char c) { return static_cast<std::uint8_t>(c); });
  return true;
}

constexpr std::string_view kLink = "magnet:?xs=urn:btpk:", kSalt = "&s=";

}  // namespace

std::optional<NewsPlace> PlaceOf(std::string_view link) {
  if (!link.starts_with(kLink)) return std::nullopt;
  link.remove_prefix(kLink.size());
  const std::size_t salt_at = link.find(kSalt);
  if (salt_at == std::string_view::npos) return std::nullopt;
  const auto key = FromHex(link.substr(0, salt_at));
  const auto salt = FromHex(link.substr(salt_at + kSalt.size()));
  NewsPlace place;
  if (!key || key->size() != place.key.size() || !salt || salt->size() > 64) return std::nullopt;
  std::ranges::copy(*key, place.key.begin());
  place.salt = *salt;
  return place;
}

std::optional<HeardNews> NewsFrom(const lt::dht_mutable_item_alert& alert) {
  HeardNews heard{.place = {alert.key, alert.salt}, .sequence = alert.seq};
  if (alert.item.type() != lt::entry::dictionary_t) return std::nullopt;
  const lt::entry* version = alert.item.find_key("version");
  if (version == nullptr || version->type() != lt::entry::int_t || version->integer() < 0 ||
      !Read(alert.item, "ih", heard.news.torrent.infohash) ||
      !Read(alert.item, "info", heard.news.torrent.info) ||
      !Read(alert.item, "manifest", heard.news.manifest))
    return std::nullopt;
  heard.news.version.value = static_cast<std::uint64_t>(version->integer());
  heard.news.salt = alert.salt;
  return heard;
}

std::string NewsLink(const std::array<std::uint8_t, 32>& key_seed, const std::string& salt) {
  const auto key = std::get<0>(KeyFrom(key_seed));
  Digest256 bytes;
  std::ranges::transform(key.bytes, bytes.begin(),
                         [](char c) { return static_cast<std::uint8_t>(c); });
  const std::span<const std::uint8_t> salt_bytes(reinterpret_cast<const std::uint8_t*>(salt.data()),
                                                 salt.size());
  return fmt::format("{}{}{}{}", kLink, ToHex(bytes), kSalt, ToHex(salt_bytes));
}

void PutNews(lt::session& session, const RunNews& news) {
  const auto [public_key, secret_key] = KeyFrom(news.key_seed);
  lt::entry item;
  item["ih"] = Text(news.torrent.infohash);  // as BEP 46 has it
  item["info"] = Text(news.torrent.info);
  item["manifest"] = Text(news.manifest);
  item["version"] = static_cast<std::int64_t>(news.version.value);
  const std::int64_t least = static_cast<std::int64_t>(news.version.value) + 1;
  session.dht_put_item(
      public_key.bytes,
      [item, least, public_key = public_key, secret_key = secret_key](
          lt::entry& value, std::array<char, 64>& signature, std::int64_t& sequence,
          const std::string& salt) {
        // Above whatever the table has: a run that was resumed further back may go another way.
        if (value != item) sequence = std::max(sequence + 1, least);
        value = item;
        std::string encoded;
        lt::bencode(std::back_inserter(encoded), value);
        signature = lt::dht::sign_mutable_item(encoded, salt, lt::dht::sequence_number(sequence),
                                               public_key, secret_key)
                        .bytes;
      },
      news.salt);
}

}  // namespace waggle
