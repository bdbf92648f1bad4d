// Boost.Asio and Beast as this folder uses them. (Internal to http/.)
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

#include "http/message.h"
#include "net/address.h"

namespace waggle {

namespace asio = boost::asio;
namespace beast = boost::beast;
using ErrorCode = boost::system::error_code;

inline PeerAddress AddressOf(const asio::ip::tcp::endpoint& endpoint) {
  return ToPeerAddress(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
}

// A request that came whole. Blame::kPeer.
Result<HttpRequest> ToRequest(
    const beast::http::request_parser<beast::http::string_body>::value_type& message);

}  // namespace waggle
