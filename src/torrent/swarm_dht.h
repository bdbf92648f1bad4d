// What the public hash table is told of a run: one mutable item (BEP 44), signed by a key that is
// derived for the run, which leads any client that follows such items (BEP 46) to the newest
// policy. Included by this folder's .cc files only.
#pragma once

#include <libtorrent/alert_types.hpp>
#include <libtorrent/session.hpp>

#include "torrent/magnet.h"
#include "torrent/swarm.h"

namespace waggle {

// Where an item is.
struct NewsPlace {
  std::array<char, 32> key{};
  std::string salt;
  bool operator==(const NewsPlace&) const = default;
};
std::optional<NewsPlace> PlaceOf(std::string_view link);

struct HeardNews {
  NewsPlace place;
  std::int64_t sequence = 0;
  RunNews news;
};
// Nothing: the item is empty, or not of our making. libtorrent has checked the signature.
std::optional<HeardNews> NewsFrom(const lt::dht_mutable_item_alert& alert);

// Returns at once; libtorrent looks for the nodes that are to keep it.
void PutNews(lt::session& session, const RunNews& news);

}  // namespace waggle
