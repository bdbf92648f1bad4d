// RawCaller of test_net.h.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/test_net.h"

namespace waggle {

RawCaller::RawCaller(std::uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in place{.sin_family = AF_INET, .sin_port = htons(port)};
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Check(::connect(fd_, reinterpret_cast<sockaddr*>(&place), sizeof place) == 0, "loopback");
  timeval patience{.tv_sec = kPatienceMs / 1000};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

RawCaller::~RawCaller() {
  if (ssl_ != nullptr) SSL_free(ssl_);
  if (context_ != nullptr) SSL_CTX_free(context_);
  ::close(fd_);
}

bool RawCaller::StartTls() {
  context_ = SSL_CTX_new(TLS_client_method());
  ssl_ = SSL_new(context_);
  const unsigned char h2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl_, h2, sizeof h2);
  SSL_set_fd(ssl_, fd_);
  return SSL_connect(ssl_) == 1;
}

bool RawCaller::Say(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const int size = static_cast<int>(bytes.size() - done);
    const auto put = ssl_ != nullptr
                         ? SSL_write(ssl_, bytes.data() + done, size)
                         : ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (put <= 0) return false;
    done += static_cast<std::size_t>(put);
  }
  return true;
}

bool RawCaller::WaitForEnd() {
  char sink[4096];
  for (;;) {
    const auto got = ::recv(fd_, sink, sizeof sink, 0);
    if (got == 0) return true;
    if (got < 0) return errno == ECONNRESET;
  }
}

}  // namespace waggle
