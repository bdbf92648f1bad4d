// gRPC credentials over a Certificate and a Pin. (Internal to net/.)
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <atomic>
#include <memory>

#include "net/certificate.h"

namespace waggle {

std::shared_ptr<grpc::ServerCredentials> ServerTls(const Certificate& certificate);

// Accepts a server if and only if its certificate has this pin; names, dates and authorities are
// not looked at. TLS itself proves that the server holds the key. Sets `wrong_pin` at a mismatch.
std::shared_ptr<grpc::ChannelCredentials> PinnedTls(const Pin& pin,
                                                    std::shared_ptr<std::atomic<bool>> wrong_pin);

}  // namespace waggle
