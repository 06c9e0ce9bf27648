#include "daemons/frame/http_server.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <charconv>
#include <set>

namespace culvert::frame {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Protocol = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Protocol>;
using ErrorCode = boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptPause{100};  // after EMFILE and the like
constexpr std::chrono::milliseconds kGrace{300};        // for who connected just before a drain

std::optional<Peer> peerOf(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return std::nullopt;
  Peer peer{credentials.pid, credentials.uid, {credentials.gid}};
  std::vector<gid_t> groups(65536);  // NGROUPS_MAX
  length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) {
    groups.resize(length / sizeof(gid_t));
    peer.groups.insert(peer.groups.end(), groups.begin(), groups.end());
  }
  return peer;
}

/// Bytes that are no HTTP request, rather than a client that is gone or too slow.
bool isMalformed(const ErrorCode& error) {
  return error.category() == http::make_error_code(http::error::end_of_stream).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

/// A descriptor for Asio to own.
int givenAway(const UniqueFd& fd) {
  return ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
}

/// One client, for as many requests as it likes. Kept alive by its pending operation, or by the
/// responder that a handler holds.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Closed = std::function<void(Connection*)>;

  Connection(Stream&& stream, std::optional<Peer> peer, const HttpHandler& handler,
             const HttpLimits& limits, Closed closed)
      : stream_(std::move(stream)),
        peer_(std::move(peer)),
        handler_(&handler),
        limits_(limits),
        closed_(std::move(closed)),
        buffer_(limits.headerBytes + limits.bodyBytes) {}
  ~Connection() {
    if (closed_) closed_(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The first bytes of a request may take long, the rest of it must not.
  void awaitRequest() {
    if (draining_ && served_) return;
    idle_ = true;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits_.headerBytes));
    parser_->body_limit(limits_.bodyBytes);
    if (buffer_.size() > 0) return readRequest();
    stream_.expires_after(limits_.idle);
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = shared_from_this()](ErrorCode error, std::size_t bytes) {
                              if (error) return;
                              self->buffer_.commit(bytes);
                              self->readRequest();
                            });
  }

  /// No further request, but for the first one of a client that has just connected.
  void drain() {
    draining_ = true;
    if (idle_ && served_) stream_.cancel();
  }
  void endGrace() {
    if (idle_) stream_.cancel();
  }

  /// The server is gone: no handler and nobody to tell.
  void orphan() {
    closed_ = nullptr;
    handler_ = nullptr;
    stream_.close();
  }

 private:
  void readRequest() {
    idle_ = false;
    stream_.expires_after(limits_.read);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](ErrorCode error, std::size_t) { self->onRequest(error); });
  }

  void onRequest(ErrorCode error) {
    if (handler_ == nullptr || (error && !isMalformed(error))) return;
    if (error) return refuse(error);
    const auto message = parser_->release();
    version_ = message.version();
    keepAlive_ = message.keep_alive();
    headOnly_ = message.method() == http::verb::head;
    request_ = {};
    request_.method = headOnly_ ? "GET" : std::string(message.method_string());
    request_.body = message.body();
    request_.peer = peer_;
    parseTarget({message.target().data(), message.target().size()}, request_);
    stream_.expires_never();
    answered_ = false;
    served_ = true;
    (*handler_)(request_, [self = shared_from_this()](HttpResponse response) {
      self->write(std::move(response));
    });
  }

  /// What is no HTTP request, or too large for one.
  void refuse(ErrorCode error) {
    keepAlive_ = false;
    unsigned status = 400;
    if (error == http::error::body_limit) status = 413;
    if (error == http::error::header_limit || error == http::error::buffer_overflow) status = 431;
    write({status, "text/plain; charset=utf-8", error.message() + "\n"});
  }

  void write(HttpResponse&& response) {
    if (handler_ == nullptr || std::exchange(answered_, true)) return;
    response_ = {};
    response_.result(response.status);
    response_.version(version_);
    response_.keep_alive(keepAlive_ && !draining_);
    response_.set(http::field::content_type, response.contentType);
    for (const auto& [name, value] : response.headers)
      response_.set(name, value);
    response_.body() = std::move(response.body);
    response_.prepare_payload();
    if (headOnly_) response_.body().clear();  // its length stays in the header
    stream_.expires_after(limits_.write);
    http::async_write(stream_, response_,
                      [self = shared_from_this()](ErrorCode error, std::size_t) {
                        if (!error) self->onWritten();
                      });
  }

  void onWritten() {
    if (response_.keep_alive()) return awaitRequest();
    ErrorCode ignored;
    stream_.socket().shutdown(Protocol::socket::shutdown_send, ignored);
  }

  Stream stream_;
  std::optional<Peer> peer_;
  const HttpHandler* handler_;
  HttpLimits limits_;
  Closed closed_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  HttpRequest request_;
  http::response<http::string_body> response_;
  unsigned version_ = 11;
  bool keepAlive_ = true;
  bool headOnly_ = false;
  bool answered_ = false;
  bool served_ = false;  // at least one request
  bool idle_ = true;
  bool draining_ = false;
};

std::optional<char> hexByte(std::string_view digits) {
  unsigned value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + 2) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& loop, const UniqueFd& socket, HttpHandler handler, HttpLimits limits)
      : loop_(loop),
        listener_(loop, givenAway(socket)),
        pause_(loop),
        handler_(std::move(handler)),
        limits_(limits) {}

  void accept() {
    if (closed_ || waiting_ || connections_.size() >= limits_.connections) return;
    waiting_ = true;
    listener_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](ErrorCode error) {
                           self->waiting_ = false;
                           if (!error) self->acceptAll();
                         });
  }

  void drain(std::function<void()> drained) {
    closed_ = true;
    drained_ = std::move(drained);
    listener_.cancel();
    pause_.cancel();
    const auto connections = connections_;
    for (Connection* connection : connections)
      connection->drain();
    if (connections_.empty()) return reportDrained();
    pause_.expires_after(kGrace);
    pause_.async_wait([self = shared_from_this()](ErrorCode error) {
      if (!error) self->endGrace();
    });
  }

  UniqueFd release() {
    closed_ = true;
    return listener_.is_open() ? UniqueFd(listener_.release()) : UniqueFd();
  }

  void close() {
    (void)release();
    pause_.cancel();
    drained_ = nullptr;
    for (Connection* connection : connections_)
      connection->orphan();
    connections_.clear();
  }

 private:
  void acceptAll() {
    while (!closed_ && connections_.size() < limits_.connections) {
      const int fd =
          ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) {
        serve(fd);
      } else if (errno == EAGAIN) {
        return accept();
      } else if (errno != EINTR && errno != ECONNABORTED) {
        return acceptLater();
      }
    }
  }

  void endGrace() {
    const auto connections = connections_;
    for (Connection* connection : connections)
      connection->endGrace();
  }

  void acceptLater() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([self = shared_from_this()](ErrorCode error) {
      if (!error) self->accept();
    });
  }

  /// Takes over `fd`.
  void serve(int fd) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    (void)::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    Stream stream(loop_);
    ErrorCode error;
    stream.socket().assign(Protocol(family, 0), fd, error);
    if (error) {
      (void)::close(fd);
      return;
    }
    const auto connection = std::make_shared<Connection>(
        std::move(stream), family == AF_UNIX ? peerOf(fd) : std::nullopt, handler_, limits_,
        [this](Connection* gone) { onClosed(gone); });
    connections_.insert(connection.get());
    connection->awaitRequest();
  }

  void onClosed(Connection* gone) {
    connections_.erase(gone);
    if (drained_ && connections_.empty()) return reportDrained();
    accept();
  }

  /// From the loop: what is drained may be destroyed by it.
  void reportDrained() {
    pause_.cancel();
    asio::post(loop_, [drained = std::exchange(drained_, nullptr)] { drained(); });
  }

  asio::io_context& loop_;
  asio::posix::stream_descriptor listener_;
  asio::steady_timer pause_;
  HttpHandler handler_;
  HttpLimits limits_;
  std::set<Connection*> connections_;
  std::function<void()> drained_;
  bool waiting_ = false;
  bool closed_ = false;
};

HttpServer::HttpServer(asio::io_context& loop, UniqueFd socket, HttpHandler handler,
                       HttpLimits limits)
    : impl_(std::make_shared<Impl>(loop, socket, std::move(handler), limits)) {
  impl_->accept();
}

HttpServer::~HttpServer() {
  impl_->close();
}

void HttpServer::drain(std::function<void()> drained) {
  impl_->drain(std::move(drained));
}

UniqueFd HttpServer::release() {
  return impl_->release();
}

void Router::add(const std::string& method, const std::string& path, HttpHandler handler) {
  paths_[path][method] = std::move(handler);
}

void Router::dispatch(const HttpRequest& request, Respond respond) const {
  const auto path = paths_.find(request.path);
  if (path == paths_.end()) return respond({404, "text/plain; charset=utf-8", "not found\n"});
  const auto handler = path->second.find(request.method);
  if (handler == path->second.end()) {
    return respond({405, "text/plain; charset=utf-8", "method not allowed\n"});
  }
  handler->second(request, std::move(respond));
}

std::string percentDecoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte =
        text[i] == '%' && i + 2 < text.size() ? hexByte(text.substr(i + 1, 2)) : std::nullopt;
    plain += byte.value_or(text[i]);
    if (byte) i += 2;
  }
  return plain;
}

void parseTarget(std::string_view target, HttpRequest& request) {
  const std::size_t mark = std::min(target.find('?'), target.size());
  request.path = percentDecoded(target.substr(0, mark));
  std::string_view rest = target.substr(std::min(mark + 1, target.size()));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    request.query[percentDecoded(pair.substr(0, equals))] =
        percentDecoded(pair.substr(std::min(equals + 1, pair.size())));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

}  // namespace culvert::frame
