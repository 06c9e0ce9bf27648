#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"

namespace culvert::plugins::multi {

struct HttpsOptions {
  std::string host;  // address or name to connect to
  std::uint16_t port = 443;
  std::string serverName;        // whom the certificate must be for: an address or a name
  std::string authority;         // PEM; nothing else is trusted
  std::string certificate, key;  // PEM, of the client; may be empty
  std::chrono::milliseconds timeout{10000};  // for everything this client does, all told
};

struct HttpRequest {
  std::string method, path;
  std::string token;        // bearer; may be empty
  std::string contentType;  // of `body`
  std::string body;
};

struct HttpResponse {
  unsigned status = 0;
  std::string body;  // at most kMaxHttpBodyBytes
};

inline constexpr std::size_t kMaxHttpBodyBytes = 4U << 20;

/// One HTTPS/1.1 connection: TLS 1.2, the certificate verified against `authority` and
/// `serverName` always. kTryAgain for what may pass (not reachable, too slow, closed),
/// kInvalidConfig for certificates and names that do not fit, kDecode for answers that are not HTTP
/// or too large.
class HttpsClient {
 public:
  static Result<HttpsClient> connect(const HttpsOptions& options);
  HttpsClient(HttpsClient&&) noexcept;
  ~HttpsClient();

  /// One exchange; the connection is kept for the next.
  Result<HttpResponse> exchange(const HttpRequest& request);

 private:
  class Connection;
  explicit HttpsClient(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace culvert::plugins::multi
