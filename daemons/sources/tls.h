#pragma once

#include <boost/asio/ssl.hpp>
#include <memory>
#include <string>

#include "daemons/sources/http.h"

namespace culvert::sources::http {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

/// TLS 1.2 or later, the peer verified. kInvalidConfig if a certificate or key cannot be read.
Result<TlsContext> makeTlsContext(const Tls& tls);

/// `ssl` accepts only a certificate for `name`, be it an address (RFC 5280 iPAddress) or a name,
/// which is then also sent as SNI (RFC 6066 section 3).
Result<void> expectServer(SSL* ssl, const std::string& name);

/// The handshake's failure as an Error: kIo when the certificate was refused, with the reason.
Error handshakeError(SSL* ssl, const boost::system::error_code& error);

}  // namespace culvert::sources::http
