#include "torrent/magnet.h"

#include <gtest/gtest.h>

namespace waggle {
namespace {

TEST(Magnet, IsReadAsItWasWritten) {
  const Magnet magnet{
      .infohash = {1, 2, 0xab}, .info = {3}, .peers = {"hive.example.org:7101", "[::1]:7101"}};
  EXPECT_EQ(ToText(magnet),
            "magnet:?xt=urn:btih:0102ab0000000000000000000000000000000000"
            "&x.info=0300000000000000000000000000000000000000000000000000000000000000"
            "&x.pe=hive.example.org:7101&x.pe=[::1]:7101");
  EXPECT_EQ(ParseMagnet(ToText(magnet)), magnet);
}

TEST(Magnet, StrangersTextsAreReadAsFarAsTheyMakeSense) {
  const std::string topic = "xt=urn:btih:" + std::string(40, 'a');
  const std::string info = "&x.info=" + std::string(64, 'b'), both = topic + info;
  EXPECT_TRUE(ParseMagnet("magnet:?" + both));
  EXPECT_FALSE(ParseMagnet(""));
  EXPECT_FALSE(ParseMagnet("http://hive.example.org"));
  EXPECT_FALSE(ParseMagnet("magnet:?"));
  EXPECT_FALSE(ParseMagnet("magnet:?" + topic));
  EXPECT_FALSE(ParseMagnet("magnet:?" + info));
  EXPECT_FALSE(ParseMagnet("magnet:?xt=urn:btmh:1220" + std::string(64, 'a') + info));
  EXPECT_FALSE(ParseMagnet("magnet:?xt=urn:btih:" + std::string(38, 'a') + info));
  EXPECT_FALSE(ParseMagnet("magnet:?xt=urn:btih:" + std::string(40, 'g') + info));
  EXPECT_FALSE(ParseMagnet("magnet:?" + both + "&" + topic));
  EXPECT_FALSE(ParseMagnet("magnet:?" + both + info));
  const auto odd = ParseMagnet("magnet:?dn=x&&x.pe=&x.pe=:1&x.pe=a:&x.pe=a:123456&x.pe=a b:1&" +
                               both + "&tr=http://tracker&x.pe=ok:1");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->peers, std::vector<std::string>{"ok:1"});
  std::string many = "magnet:?" + both;
  for (int i = 0; i < 100; ++i) many += "&x.pe=a:" + std::to_string(i);
  EXPECT_EQ(ParseMagnet(many)->peers.size(), kMagnetPeersMax);
}

}  // namespace
}  // namespace waggle
