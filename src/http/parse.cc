#include "http/parse.h"

#include <charconv>

#include "net/address.h"

namespace waggle {
namespace {

constexpr std::size_t kUrlBytesMax = 4096;
constexpr std::size_t kQueryFieldsMax = 64;

bool ReadNumber(std::string_view text, std::uint64_t& value) {
  if (text.empty() || text.front() == '+' || text.front() == '-') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

bool HasControl(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string HttpRequest::Header(const std::string& lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? "" : found->second;
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      plain += ' ';
    } else if (text[i] != '%') {
      plain += text[i];
    } else {
      unsigned value = 0;
      const char* begin = text.data() + i + 1;
      if (i + 2 >= text.size() || std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2)
        return std::nullopt;
      plain += static_cast<char>(value);
      i += 2;
    }
  }
  return plain;
}

Status ParseTarget(std::string_view target, HttpRequest& request) {
  request.target = target;
  if (target.empty() || target.front() != '/')
    return Fail(Blame::kPeer, "the request target does not begin with '/'");
  const std::size_t mark = target.find('?');
  auto path = PercentDecode(target.substr(0, mark), /*plus_is_space=*/false);
  if (!path || HasControl(*path))
    return Fail(Blame::kPeer, "the request's path has a broken escape or a control character");
  request.path = std::move(*path);
  request.query.clear();
  if (mark == std::string_view::npos) return {};
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view field = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), field.size() + 1));
    const std::size_t equals = field.find('=');
    auto name = PercentDecode(field.substr(0, equals), true);
    auto value = equals == std::string_view::npos ? std::optional<std::string>("")
                                                  : PercentDecode(field.substr(equals + 1), true);
    if (!name || !value) return Fail(Blame::kPeer, "the request's query has a broken escape");
    if (request.query.size() >= kQueryFieldsMax)
      return Fail(Blame::kPeer, "more than {} fields in the query", kQueryFieldsMax);
    request.query[*std::move(name)] = *std::move(value);
  }
  return {};
}

RangeChoice ChooseRange(std::string_view header, std::uint64_t size) {
  const RangeChoice all{.end = size};
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return all;
  const std::string_view spec = TrimSpace(header.substr(kUnit.size()));
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return all;
  const std::string_view first = spec.substr(0, dash), last = spec.substr(dash + 1);
  std::uint64_t begin = 0, end = 0;
  if (first.empty()) {  // the last n bytes
    if (!ReadNumber(last, end)) return all;
    if (end == 0 || size == 0) return {.kind = RangeChoice::Kind::kUnsatisfiable};
    return {RangeChoice::Kind::kPart, size - std::min(size, end), size};
  }
  if (!ReadNumber(first, begin)) return all;
  if (last.empty()) {
    end = size;
  } else {
    if (!ReadNumber(last, end) || end < begin) return all;
    end = std::min(size, end == UINT64_MAX ? end : end + 1);
  }
  if (begin >= size) return {.kind = RangeChoice::Kind::kUnsatisfiable};
  return {RangeChoice::Kind::kPart, begin, end};
}

std::string HttpUrl::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

Result<HttpUrl> ParseUrl(std::string_view url) {
  if (url.size() > kUrlBytesMax || HasControl(url) || url.find(' ') != std::string_view::npos)
    return Fail(Blame::kOperator, "a URL has at most {} bytes and no spaces", kUrlBytesMax);
  HttpUrl parsed;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    parsed.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return Fail(Blame::kOperator, "'{}' is no http:// or https:// URL", url);
  }
  const std::size_t slash = rest.find_first_of("/?");
  std::string authority(rest.substr(0, slash));
  const std::string_view target = slash == std::string_view::npos ? "" : rest.substr(slash);
  parsed.target = std::string(target.starts_with('/') ? "" : "/").append(target);
  if (parsed.target.find('#') != std::string::npos)
    return Fail(Blame::kOperator, "'{}': a '#' means nothing to a server", url);
  const std::size_t colon = authority.rfind(':');
  const bool has_port =
      colon != std::string::npos && authority.find(']', colon) == std::string::npos;
  if (!has_port) authority += parsed.tls ? ":443" : ":80";
  WG_ASSIGN(HostPort place, ParseHostPort(authority));
  parsed.host = std::move(place.host);
  parsed.port = place.port;
  return parsed;
}

std::optional<std::uint64_t> BeginOfContentRange(std::string_view header) {
  constexpr std::string_view kUnit = "bytes ";
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  std::uint64_t begin = 0;
  if (!ReadNumber(header.substr(0, header.find('-')), begin)) return std::nullopt;
  return begin;
}

}  // namespace waggle
