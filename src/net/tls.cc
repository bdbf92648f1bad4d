#include "net/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <utility>

namespace waggle {
namespace {

namespace tls = grpc::experimental;

class PinVerifier final : public tls::ExternalCertificateVerifier {
 public:
  PinVerifier(const Pin& pin, std::shared_ptr<std::atomic<bool>> wrong_pin)
      : pin_(pin), wrong_pin_(std::move(wrong_pin)) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const grpc::string_ref pem = request->peer_cert();
    const auto pin = PinOfCertificate({pem.data(), pem.size()});
    const bool same = pin.has_value() && *pin == pin_;
    if (!same) {
      *wrong_pin_ = true;
      *status = {grpc::StatusCode::UNAUTHENTICATED, "the certificate is not the pinned one"};
    }
    return true;  // decided at once
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const Pin pin_;
  const std::shared_ptr<std::atomic<bool>> wrong_pin_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> ServerTls(const Certificate& certificate) {
  const auto provider =
      std::make_shared<tls::StaticDataCertificateProvider>(std::vector<tls::IdentityKeyCertPair>{
          {.private_key = certificate.key_pem, .certificate_chain = certificate.certificate_pem}});
  tls::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> PinnedTls(const Pin& pin,
                                                    std::shared_ptr<std::atomic<bool>> wrong_pin) {
  tls::TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);  // no chain: the verifier decides alone
  options.set_check_call_host(false);      // no names
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<PinVerifier>(pin, std::move(wrong_pin)));
  return tls::TlsCredentials(options);
}

}  // namespace waggle
