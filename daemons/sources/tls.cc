#include "daemons/sources/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>

namespace culvert::sources::http {

namespace asio = boost::asio;

namespace {

Result<void> check(const boost::system::error_code& error, const char* what) {
  if (!error) return {};
  return makeError(Errc::kInvalidConfig, std::string(what) + ": " + error.message());
}

Result<void> trust(asio::ssl::context& context, const std::string& authority) {
  boost::system::error_code error;
  if (authority.empty()) {
    context.set_default_verify_paths(error);
  } else {
    context.add_certificate_authority(asio::buffer(authority), error);
  }
  return check(error, "the certificate authority");
}

Result<void> identify(asio::ssl::context& context, const Tls& tls) {
  if (tls.certificate.empty() && tls.key.empty()) return {};
  boost::system::error_code error;
  context.use_certificate_chain(asio::buffer(tls.certificate), error);
  TRY(check(error, "the client's certificate"));
  context.use_private_key(asio::buffer(tls.key), asio::ssl::context::pem, error);
  return check(error, "the client's key");
}

}  // namespace

Result<TlsContext> makeTlsContext(const Tls& tls) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  boost::system::error_code error;
  context->set_verify_mode(asio::ssl::verify_peer, error);
  TRY(check(error, "TLS"));
  TRY(trust(*context, tls.authority));
  TRY(identify(*context, tls));
  return context;
}

Result<void> expectServer(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl);
  boost::system::error_code notAnAddress;
  const auto address = asio::ip::make_address(name, notAnAddress);
  bool done = false;
  if (!notAnAddress) {
    done = X509_VERIFY_PARAM_set1_ip_asc(wanted, address.to_string().c_str()) == 1;
  } else {
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    done = X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), name.size()) == 1 &&
           SSL_set_tlsext_host_name(ssl, const_cast<char*>(name.c_str())) == 1;
  }
  if (!done) return makeError(Errc::kInvalidConfig, "no server can be named \"" + name + "\"");
  return {};
}

Error handshakeError(SSL* ssl, const boost::system::error_code& error) {
  const long verdict = SSL_get_verify_result(ssl);
  if (verdict == X509_V_OK) return makeError(Errc::kTryAgain, "TLS: " + error.message());
  return makeError(Errc::kIo, std::string("the server's certificate was refused: ") +
                                  X509_verify_cert_error_string(verdict));
}

}  // namespace culvert::sources::http
