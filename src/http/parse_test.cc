#include "http/parse.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace waggle {
namespace {

using Kind = RangeChoice::Kind;

TEST(Target, PathAndQuery) {
  HttpRequest request;
  ASSERT_TRUE(ParseTarget("/a%20b/%C3%A9?x=1+2&y=%3D&z", request));
  EXPECT_EQ(request.path, "/a b/\xc3\xa9");
  EXPECT_EQ(request.query.at("x"), "1 2");
  EXPECT_EQ(request.query.at("y"), "=");
  EXPECT_EQ(request.query.at("z"), "");
}

TEST(Target, Refused) {
  HttpRequest request;
  for (const char* bad :
       {"", "hello", "*", "http://x/", "/%", "/%4", "/%zz", "/a%00b", "/a%0d%0a", "/?a=%f"}) {
    const Status status = ParseTarget(bad, request);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().blame, Blame::kPeer) << bad;
  }
  std::string many = "/?";
  for (int i = 0; i < 100; ++i) many += fmt::format("k{}=v&", i);
  EXPECT_FALSE(ParseTarget(many, request));
}

void ExpectPart(std::string_view header, std::uint64_t begin, std::uint64_t end) {
  const RangeChoice choice = ChooseRange(header, 1000);
  EXPECT_EQ(choice.kind, Kind::kPart) << header;
  EXPECT_EQ(choice.begin, begin) << header;
  EXPECT_EQ(choice.end, end) << header;
}

TEST(Range, Parts) {
  ExpectPart("bytes=0-0", 0, 1);
  ExpectPart("bytes=10-19", 10, 20);
  ExpectPart("bytes=990-", 990, 1000);
  ExpectPart("bytes=990-5000", 990, 1000);
  ExpectPart("bytes=-1", 999, 1000);
  ExpectPart("bytes=-5000", 0, 1000);
  ExpectPart("bytes=0-18446744073709551615", 0, 1000);
}

TEST(Range, Unsatisfiable) {
  for (const char* header : {"bytes=1000-", "bytes=1000-1001", "bytes=-0"})
    EXPECT_EQ(ChooseRange(header, 1000).kind, Kind::kUnsatisfiable) << header;
  EXPECT_EQ(ChooseRange("bytes=0-", 0).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ChooseRange("bytes=-5", 0).kind, Kind::kUnsatisfiable);
}

TEST(Range, WhatIsNoSingleRangeIsIgnored) {
  for (const char* header :
       {"", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b",
        "bytes=+1-2", "bytes=1--2", "bytes=0x1-2", "bytes=99999999999999999999-"}) {
    const RangeChoice choice = ChooseRange(header, 1000);
    EXPECT_EQ(choice.kind, Kind::kAll) << header;
    EXPECT_EQ(choice.end, 1000u) << header;
  }
}

RC_GTEST_PROP(Range, LiesInTheBody, (std::uint64_t begin, std::uint64_t end, std::uint64_t size)) {
  for (const std::string& header :
       {fmt::format("bytes={}-{}", begin, end), fmt::format("bytes=-{}", end),
        fmt::format("bytes={}-", begin)}) {
    const RangeChoice choice = ChooseRange(header, size);
    RC_ASSERT(choice.begin <= choice.end && choice.end <= size);
    if (choice.kind == Kind::kPart) RC_ASSERT(choice.begin < choice.end);
  }
}

TEST(Url, Parts) {
  const HttpUrl plain = ParseUrl("http://bee.example/x/y?z=1").value();
  EXPECT_FALSE(plain.tls);
  EXPECT_EQ(plain.port, 80);
  EXPECT_EQ(plain.target, "/x/y?z=1");
  EXPECT_EQ(plain.authority(), "bee.example");
  const HttpUrl odd = ParseUrl("https://[2001:db8::1]:8443?q").value();
  EXPECT_TRUE(odd.tls);
  EXPECT_EQ(odd.host, "2001:db8::1");
  EXPECT_EQ(odd.target, "/?q");
  EXPECT_EQ(odd.authority(), "[2001:db8::1]:8443");
  EXPECT_EQ(ParseUrl("https://[::1]/").value().port, 443);
}

TEST(Url, Refused) {
  for (const char* bad :
       {"", "bee.example", "ftp://bee/", "http://", "http:///x", "http://a b/", "http://user@bee/",
        "http://bee:99999/", "http://bee/#x", "http://bee/\r\nHost: x", "file:///etc/passwd"}) {
    const auto url = ParseUrl(bad);
    ASSERT_FALSE(url) << bad;
    EXPECT_EQ(url.error().blame, Blame::kOperator);
  }
}

TEST(ContentRange, Begin) {
  EXPECT_EQ(BeginOfContentRange("bytes 5-9/100"), 5u);
  EXPECT_EQ(BeginOfContentRange("bytes 0-0/*"), 0u);
  for (const char* bad : {"", "bytes */100", "bytes=5-9/100", "bytes -9/100", "items 1-2/3"})
    EXPECT_FALSE(BeginOfContentRange(bad)) << bad;
}

}  // namespace
}  // namespace waggle
