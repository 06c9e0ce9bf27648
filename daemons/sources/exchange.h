#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <optional>

#include "daemons/sources/connection.h"

namespace culvert::sources::http {

/// One request and its answer, on a kept connection or on a new one, at the first endpoint that can
/// be reached. Keeps itself alive while it is under way.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Owner {
    virtual ~Owner() = default;
    virtual std::shared_ptr<Connection> takeKept() = 0;  // null if there is none
    virtual void keep(std::shared_ptr<Connection> connection) = 0;
    virtual const Options& options() const = 0;
    virtual TlsContext tls() const = 0;
    virtual const Endpoint& current() const = 0;
    virtual void preferNext() = 0;
    virtual void finished(Exchange& exchange) = 0;
  };

  Exchange(boost::asio::io_context& io, std::weak_ptr<Owner> owner, Request request,
           StreamHandler handler, bool isStream);

  void start();
  /// Nobody is called any more.
  void cancel();

 private:
  using ErrorCode = boost::system::error_code;
  using Message = boost::beast::http::request<boost::beast::http::string_body>;
  using Parser = boost::beast::http::response_parser<boost::beast::http::buffer_body>;

  void attempt();
  void resolve();
  void connect(const boost::asio::ip::tcp::resolver::results_type& addresses);
  void connected();
  void shakeHands();
  void write();
  void readHead();
  void gotHead();
  void readBody();
  void gotBody(const ErrorCode& error);
  Result<void> take(std::string_view piece);

  void buildMessage();
  void arm(std::chrono::milliseconds after);
  void timedOut();
  void limitConnecting(std::chrono::milliseconds after);
  void unreachable(Error error);
  void broken(const ErrorCode& error, const char* doing);
  void complete();
  void finish(Result<Response> outcome);

  /// A handler that does nothing once this is over, or when another attempt has begun.
  template <class Next>
  auto guarded(Next next) {
    return [self = shared_from_this(), connection = connection_, round = round_,
            next](auto&&... arguments) {
      if (!self->over_ && self->round_ == round)
        next(std::forward<decltype(arguments)>(arguments)...);
    };
  }

  boost::asio::io_context& io_;
  std::weak_ptr<Owner> owner_;
  Request request_;
  StreamHandler handler_;
  bool isStream_;
  Response response_;

  boost::asio::steady_timer timer_;
  boost::asio::steady_timer connectTimer_;
  boost::asio::ip::tcp::resolver resolver_;
  std::shared_ptr<Connection> connection_;
  Message message_;
  boost::beast::flat_buffer input_;
  std::optional<Parser> parser_;
  std::array<char, 16384> piece_;
  std::size_t attempts_ = 0;
  int round_ = 0;
  bool reused_ = false;
  bool over_ = false;
};

}  // namespace culvert::sources::http
