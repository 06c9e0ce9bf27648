#pragma once

#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "daemons/sources/tls.h"

namespace culvert::sources::http {

/// A TCP connection to one endpoint, with TLS around it or not.
struct Connection {
  using Socket = boost::asio::ip::tcp::socket;
  using TlsStream = boost::asio::ssl::stream<Socket&>;

  Connection(boost::asio::io_context& io, Endpoint where)
      : endpoint(std::move(where)), socket(io) {}

  /// Calls `use` with the stream to read from and to write to.
  template <class Use>
  void withStream(Use use) {
    if (tls) {
      use(*tls);
    } else {
      use(socket);
    }
  }

  void startTls(TlsContext with) {
    context = std::move(with);
    tls = std::make_unique<TlsStream>(socket, *context);
  }

  /// Has the kernel notice within a minute that the peer is gone (tcp(7)).
  void setOptions() {
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
    set(IPPROTO_TCP, TCP_NODELAY, 1);
  }

  /// A kept connection from which something can be read has been closed by the server.
  bool isQuiet() {
    char byte = 0;
    return ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  void close() {
    boost::system::error_code ignored;
    socket.close(ignored);
  }

  Endpoint endpoint;
  Socket socket;
  TlsContext context;  // outlives `tls`
  std::unique_ptr<TlsStream> tls;

 private:
  void set(int level, int option, int value) {
    (void)::setsockopt(socket.native_handle(), level, option, &value, sizeof value);
  }
};

}  // namespace culvert::sources::http
