#include "plugins/multi/https.h"

#include <array>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "plugins/multi/tls.h"

namespace culvert::plugins::multi {
namespace {

namespace http = boost::beast::http;

constexpr std::uint32_t kMaxHeaderBytes = 64U << 10;

std::string render(const HttpRequest& request, const std::string& host) {
  std::string text = request.method + " " + request.path + " HTTP/1.1\r\nHost: " + host +
                     "\r\nUser-Agent: culvert-multi\r\nAccept: application/json\r\n";
  if (!request.token.empty()) text += "Authorization: Bearer " + request.token + "\r\n";
  if (!request.contentType.empty()) {
    text += "Content-Type: " + request.contentType +
            "\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  return text + "\r\n" + request.body;
}

Error notHttp(const boost::system::error_code& failure) {
  return makeError(Errc::kDecode, "the answer is not acceptable HTTP: " + failure.message());
}

/// An address of IPv6 stands in brackets (RFC 3986 section 3.2.2).
std::string hostHeader(const HttpsOptions& options) {
  const bool bracketed = options.host.find(':') != std::string::npos;
  return (bracketed ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
}

}  // namespace

class HttpsClient::Connection {
 public:
  explicit Connection(const HttpsOptions& options)
      : options_(options), deadline_(TlsStream::Clock::now() + options.timeout) {}

  Result<void> ensureOpen() {
    if (stream_) return {};
    unread_.clear();
    stream_ = std::make_unique<TlsStream>(TRY(TlsStream::connect(options_, deadline_)));
    return {};
  }

  Result<HttpResponse> exchange(const HttpRequest& request) {
    TRY(ensureOpen());
    Result<HttpResponse> response = sendAndReceive(request);
    if (!response) stream_.reset();
    return response;
  }

 private:
  Result<HttpResponse> sendAndReceive(const HttpRequest& request) {
    TRY(stream_->write(render(request, hostHeader(options_))));
    http::response_parser<http::string_body> parser;
    parser.header_limit(kMaxHeaderBytes);
    parser.body_limit(kMaxHttpBodyBytes);
    while (!parser.is_done()) {
      TRY(feed(parser));
      // The body's room is made in the next step, for as many bytes as the header promises.
      if (parser.is_header_done() && parser.content_length().value_or(0) > kMaxHttpBodyBytes)
        return notHttp(make_error_code(http::error::body_limit));
    }
    if (!parser.keep_alive()) stream_.reset();
    return HttpResponse{.status = parser.get().result_int(),
                        .body = std::move(parser.get().body())};
  }

  /// What is there goes to the parser; if it wants more, reads more.
  Result<void> feed(http::response_parser<http::string_body>& parser) {
    boost::system::error_code failure;
    if (!unread_.empty()) {
      const std::size_t used = parser.put(boost::asio::buffer(unread_), failure);
      unread_.erase(0, used);
      if (failure && failure != http::error::need_more) return notHttp(failure);
      if (!failure) return {};
    }
    std::array<char, 16384> buffer{};
    const std::size_t got = TRY(stream_->read(buffer.data(), buffer.size()));
    unread_.append(buffer.data(), got);
    if (got > 0) return {};
    const bool begun = parser.got_some();  // otherwise the parser takes silence for an answer
    parser.put_eof(failure);
    if (failure || !begun) return makeError(Errc::kTryAgain, "the server closed the connection");
    return {};
  }

  HttpsOptions options_;
  TlsStream::Clock::time_point deadline_;
  std::unique_ptr<TlsStream> stream_;
  std::string unread_;
};

HttpsClient::HttpsClient(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
HttpsClient::HttpsClient(HttpsClient&&) noexcept = default;
HttpsClient::~HttpsClient() = default;

Result<HttpsClient> HttpsClient::connect(const HttpsOptions& options) {
  auto connection = std::make_unique<Connection>(options);
  TRY(connection->ensureOpen());
  return HttpsClient(std::move(connection));
}

Result<HttpResponse> HttpsClient::exchange(const HttpRequest& request) {
  return connection_->exchange(request);
}

}  // namespace culvert::plugins::multi
