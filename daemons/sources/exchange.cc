#include "daemons/sources/exchange.h"

#include <boost/asio/connect.hpp>
#include <charconv>
#include <limits>

namespace culvert::sources::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

namespace {

std::string hostHeader(const Endpoint& endpoint) {
  const bool isV6 = endpoint.host.find(':') != std::string::npos;
  return (isV6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + endpoint.port;
}

/// Retry-After in seconds (RFC 9110 section 10.2.3); its form as a date is not taken.
std::optional<std::chrono::seconds> parseRetryAfter(std::string_view text) {
  unsigned seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::chrono::seconds(std::min(seconds, 3600U));
}

}  // namespace

Exchange::Exchange(asio::io_context& io, std::weak_ptr<Owner> owner, Request request,
                   StreamHandler handler, bool isStream)
    : io_(io),
      owner_(std::move(owner)),
      request_(std::move(request)),
      handler_(std::move(handler)),
      isStream_(isStream),
      timer_(io),
      connectTimer_(io),
      resolver_(io) {}

void Exchange::start() {
  if (!isStream_) arm(request_.timeout);
  attempt();
}

void Exchange::cancel() {
  over_ = true;
  handler_ = {};
  timer_.cancel();
  connectTimer_.cancel();
  resolver_.cancel();
  if (connection_) connection_->close();
}

void Exchange::attempt() {
  ++round_;
  const auto owner = owner_.lock();
  if (!owner) return cancel();
  connection_ = owner->takeKept();
  reused_ = connection_ != nullptr;
  if (reused_) return write();
  connection_ = std::make_shared<Connection>(io_, owner->current());
  limitConnecting(owner->options().connectTimeout);
  resolve();
}

void Exchange::resolve() {
  resolver_.async_resolve(
      connection_->endpoint.host, connection_->endpoint.port,
      guarded([this](const ErrorCode& error, const tcp::resolver::results_type& addresses) {
        if (error) return unreachable(makeError(Errc::kTryAgain, error.message()));
        connect(addresses);
      }));
}

void Exchange::connect(const tcp::resolver::results_type& addresses) {
  asio::async_connect(connection_->socket, addresses,
                      guarded([this](const ErrorCode& error, const tcp::endpoint&) {
                        if (error) return unreachable(makeError(Errc::kTryAgain, error.message()));
                        connected();
                      }));
}

void Exchange::connected() {
  connection_->setOptions();
  if (!connection_->endpoint.tls) return write();
  shakeHands();
}

void Exchange::shakeHands() {
  const auto owner = owner_.lock();
  if (!owner) return cancel();
  connection_->startTls(owner->tls());
  SSL* ssl = connection_->tls->native_handle();
  const std::string& name = owner->options().tls.serverName;
  if (auto set = expectServer(ssl, name.empty() ? connection_->endpoint.host : name); !set) {
    return unreachable(set.error());
  }
  connection_->tls->async_handshake(asio::ssl::stream_base::client,
                                    guarded([this, ssl](const ErrorCode& error) {
                                      if (error) return unreachable(handshakeError(ssl, error));
                                      write();
                                    }));
}

void Exchange::buildMessage() {
  const auto owner = owner_.lock();
  message_ = Message();
  message_.version(11);
  message_.method_string(request_.method);
  message_.target(connection_->endpoint.basePath + request_.target);
  message_.set(beast::http::field::host, hostHeader(connection_->endpoint));
  message_.set(beast::http::field::user_agent, owner ? owner->options().userAgent : "");
  message_.set(beast::http::field::accept, "application/json");
  for (const auto& [name, value] : request_.headers)
    message_.set(name, value);
  if (!request_.body.empty()) {
    message_.set(beast::http::field::content_type, request_.contentType);
    message_.body() = request_.body;
  }
  message_.prepare_payload();
}

void Exchange::write() {
  buildMessage();
  connectTimer_.cancel();
  if (isStream_) arm(request_.timeout);
  connection_->withStream([this](auto& stream) {
    beast::http::async_write(stream, message_, guarded([this](const ErrorCode& error, std::size_t) {
                               if (error) return broken(error, "send the request");
                               readHead();
                             }));
  });
}

void Exchange::readHead() {
  parser_.emplace();
  parser_->header_limit(64U << 10);
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
  input_.clear();
  connection_->withStream([this](auto& stream) {
    beast::http::async_read_header(stream, input_, *parser_,
                                   guarded([this](const ErrorCode& error, std::size_t) {
                                     if (error) return broken(error, "read the answer");
                                     gotHead();
                                   }));
  });
}

void Exchange::gotHead() {
  response_ = Response();
  response_.status = parser_->get().result_int();
  const auto retryAfter = parser_->get()[beast::http::field::retry_after];
  response_.retryAfter = parseRetryAfter({retryAfter.data(), retryAfter.size()});
  const auto onOpen = handler_.onOpen;  // it may cancel us
  if (isStream_ && response_.ok() && onOpen) onOpen();
  if (!over_) readBody();
}

void Exchange::readBody() {
  if (parser_->is_done()) return complete();
  if (isStream_) arm(request_.timeout);
  auto& body = parser_->get().body();
  body.data = piece_.data();
  body.size = piece_.size();
  body.more = true;
  connection_->withStream([this](auto& stream) {
    beast::http::async_read_some(
        stream, input_, *parser_,
        guarded([this](const ErrorCode& error, std::size_t) { gotBody(error); }));
  });
}

void Exchange::gotBody(const ErrorCode& error) {
  const std::size_t got = piece_.size() - parser_->get().body().size;
  if (got > 0) {
    Result<void> taken = take({piece_.data(), got});
    if (over_) return;
    if (!taken) return finish(taken.error());
  }
  if (error && error != beast::http::error::need_buffer) return broken(error, "read the answer");
  readBody();
}

Result<void> Exchange::take(std::string_view piece) {
  if (isStream_ && response_.ok()) {
    const auto self = shared_from_this();  // the handler may cancel us
    const auto onData = handler_.onData;
    return onData(piece);
  }
  if (response_.body.size() + piece.size() > kMaxBodyBytes) {
    return makeError(Errc::kDecode,
                     "an answer of more than " + std::to_string(kMaxBodyBytes >> 20) + " MiB");
  }
  response_.body += piece;
  return {};
}

void Exchange::arm(std::chrono::milliseconds after) {
  timer_.expires_after(after);
  timer_.async_wait([weak = weak_from_this()](const ErrorCode& error) {
    const auto self = weak.lock();
    if (self && !error && !self->over_ && self->timer_.expiry() <= std::chrono::steady_clock::now())
      self->timedOut();
  });
}

void Exchange::timedOut() {
  const auto owner = owner_.lock();
  if (owner && response_.status == 0) owner->preferNext();
  finish(makeError(Errc::kTryAgain, (connection_ ? connection_->endpoint.text() : request_.target) +
                                        ": no answer in time"));
}

/// The whole request has its time; one endpoint of several must not use all of it.
void Exchange::limitConnecting(std::chrono::milliseconds after) {
  connectTimer_.expires_after(after);
  connectTimer_.async_wait(guarded([this](const ErrorCode& error) {
    if (!error) unreachable(makeError(Errc::kTryAgain, "no connection in time"));
  }));
}

/// Nothing has been sent yet: the next endpoint, if one is left, may do.
void Exchange::unreachable(Error error) {
  const auto owner = owner_.lock();
  if (!owner) return cancel();
  (void)std::move(error).wrap(connection_->endpoint.text());
  owner->preferNext();
  if (++attempts_ >= owner->options().endpoints.size()) return finish(std::move(error));
  connection_->close();
  connectTimer_.cancel();
  resolver_.cancel();
  attempt();
}

void Exchange::broken(const ErrorCode& error, const char* doing) {
  const bool sayable = reused_ && response_.status == 0;
  if (sayable && (request_.repeatable || request_.method == "GET")) {
    connection_->close();
    return attempt();
  }
  finish(makeError(Errc::kTryAgain,
                   connection_->endpoint.text() + ": " + doing + ": " +
                       (error == beast::http::error::end_of_stream ? "the connection was closed"
                                                                   : error.message())));
}

void Exchange::complete() {
  const auto owner = owner_.lock();
  if (owner && parser_->keep_alive() && input_.size() == 0) owner->keep(std::move(connection_));
  finish(std::move(response_));
}

void Exchange::finish(Result<Response> outcome) {
  const auto self = shared_from_this();
  const auto done = std::move(handler_.onDone);
  cancel();
  if (const auto owner = owner_.lock()) owner->finished(*this);
  if (done) done(std::move(outcome));
}

}  // namespace culvert::sources::http
