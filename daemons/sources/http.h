#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace culvert::sources::http {

/// Where a server is.
struct Endpoint {
  bool tls = true;
  std::string host;      // a name, or an address without brackets
  std::string port;      // decimal
  std::string basePath;  // "" or "/clusters/a": goes before every request's target
  /// "https://[fd00::1]:6443/clusters/a"
  std::string text() const;
  bool operator==(const Endpoint&) const = default;
};

/// http://HOST[:PORT][/PATH] or https://...; kInvalidConfig for anything else.
Result<Endpoint> parseEndpoint(const std::string& url);

/// Whom to trust and who we are; PEM, not file names.
struct Tls {
  std::string authority;         // empty: the system's authorities
  std::string certificate, key;  // of the client; may be empty
  std::string serverName;        // the certificate must be for it; empty: the endpoint's host
  bool operator==(const Tls&) const = default;
};

struct Options {
  std::vector<Endpoint> endpoints;  // at least one; in the order of preference
  Tls tls;
  std::string userAgent = "culvertd";
  std::chrono::milliseconds connectTimeout{5000};  // for each endpoint tried
};

struct Request {
  std::string method = "GET";
  std::string target;  // path and query
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string contentType = "application/json";  // of `body`
  bool repeatable = false;  // sent again if a kept connection breaks under it; GET always is
  /// For the whole exchange; of a stream: for its head, and then between two pieces of its body.
  std::chrono::milliseconds timeout{30000};
};

struct Response {
  unsigned status = 0;
  std::string body;  // empty for a stream that was handed out
  std::optional<std::chrono::seconds> retryAfter;
  bool ok() const { return status >= 200 && status < 300; }
};

/// Who hears of a stream's answer. A status outside 200..299 comes whole, through onDone alone.
struct StreamHandler {
  std::function<void()> onOpen;  // the head is there, and its status is good
  std::function<Result<void>(std::string_view)> onData;  // an error ends the stream with it
  std::function<void(Result<Response>)> onDone;
};

/// What send() buffers, and what an answer of another status than 2xx may have.
inline constexpr std::size_t kMaxBodyBytes = 16U << 20;
/// Exchanges at a time, streams not counted; more wait their turn.
inline constexpr std::size_t kMaxExchanges = 16;

/// An HTTP/1.1 client. TLS 1.2 at least, the certificate and the server's name verified always.
/// Connections are kept and used again. When an endpoint cannot be reached, the next is tried
/// within the same request; the one that answered last is the first for the next request.
///
/// kTryAgain: no endpoint could be reached, or the connection broke, or time ran out; kIo: the
/// server is not who it should be; kDecode: not HTTP, or too large; kInvalidConfig: certificates
/// that are none.
class Client {
 public:
  static Result<std::unique_ptr<Client>> create(boost::asio::io_context& io, Options options);
  /// As cancelAll().
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(Request request, std::function<void(Result<Response>)> done);
  /// The stream's number, for cancel(); never 0.
  std::uint64_t stream(Request request, StreamHandler handler);
  /// Ends it; its handler is not called any more. Numbers of streams that are over do nothing.
  void cancel(std::uint64_t stream);
  /// Ends everything under way. Nobody is called any more.
  void cancelAll();

  /// For connections made from now on; kept ones are closed. kInvalidConfig if they are broken.
  Result<void> setTls(const Tls& tls);
  /// Begins with another endpoint next time: this one answers, but is of no use.
  void preferNext();
  const Endpoint& current() const;

  struct Impl;

 private:
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace culvert::sources::http
