#include "daemons/services/tcp_relay.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <set>

namespace culvert::services {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptPause{100};  // after EMFILE and the like

tcp::endpoint endpointOf(const Backend& backend) {
  if (backend.address.family() == Family::kV4) {
    asio::ip::address_v4::bytes_type bytes{};
    std::copy_n(backend.address.bytes(), bytes.size(), bytes.begin());
    return {asio::ip::address_v4(bytes), backend.port};
  }
  asio::ip::address_v6::bytes_type bytes{};
  std::copy_n(backend.address.bytes(), bytes.size(), bytes.begin());
  return {asio::ip::address_v6(bytes), backend.port};
}

/// The peer sees a reset, not an orderly end.
void reset(tcp::socket& socket) {
  ErrorCode ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

}  // namespace

/// What outlives its TcpRelay for as long as an operation is pending.
class TcpRelay::Shared : public std::enable_shared_from_this<Shared> {
 public:
  class Session;
  class Listener;

  Shared(asio::io_context& context, Limits bounds) : loop(context), limits(bounds) {}
  void closeAll();

  asio::io_context& loop;
  const Limits limits;
  std::set<Session*> sessions;
};

/// One connection and the one to its endpoint. Kept alive by pending operations.
class TcpRelay::Shared::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Shared> shared, tcp::socket client)
      : shared_(std::move(shared)),
        client_(std::move(client)),
        server_(shared_->loop),
        deadline_(shared_->loop),
        request_{client_, server_, std::vector<char>(shared_->limits.buffer)},
        response_{server_, client_, std::vector<char>(shared_->limits.buffer)} {
    shared_->sessions.insert(this);
  }
  ~Session() { shared_->sessions.erase(this); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void connect(const Backend& backend) {
    deadline_.expires_after(shared_->limits.connect);
    deadline_.async_wait([self = shared_from_this()](ErrorCode error) {
      if (!error) self->abort();
    });
    server_.async_connect(endpointOf(backend), [self = shared_from_this()](ErrorCode error) {
      self->deadline_.cancel();
      if (error) return self->abort();
      self->begin();
    });
  }

  void abort() {
    deadline_.cancel();
    reset(client_);
    reset(server_);
  }

 private:
  struct Direction {
    tcp::socket& from;
    tcp::socket& to;
    std::vector<char> buffer;
  };

  void begin() {
    ErrorCode ignored;
    for (tcp::socket* socket : {&client_, &server_}) {
      socket->set_option(tcp::no_delay(true), ignored);
      socket->set_option(asio::socket_base::keep_alive(true), ignored);  // a node may vanish
    }
    read(request_);
    read(response_);
  }

  void read(Direction& direction) {
    direction.from.async_read_some(
        asio::buffer(direction.buffer),
        [self = shared_from_this(), &direction](ErrorCode error, std::size_t bytes) {
          if (error == asio::error::eof) return self->end(direction);
          if (error) return self->abort();
          self->write(direction, bytes);
        });
  }

  void write(Direction& direction, std::size_t bytes) {
    asio::async_write(direction.to, asio::buffer(direction.buffer, bytes),
                      [self = shared_from_this(), &direction](ErrorCode error, std::size_t) {
                        if (error) return self->abort();
                        self->read(direction);
                      });
  }

  /// The other direction may go on for as long as it likes; after both, nobody holds the session.
  void end(Direction& direction) {
    ErrorCode ignored;
    direction.to.shutdown(tcp::socket::shutdown_send, ignored);
  }

  std::shared_ptr<Shared> shared_;
  tcp::socket client_, server_;
  asio::steady_timer deadline_;
  Direction request_, response_;
};

void TcpRelay::Shared::closeAll() {
  const auto all = sessions;
  for (Session* session : all)
    session->abort();
}

/// One listening socket.
class TcpRelay::Shared::Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(std::shared_ptr<Shared> shared, const UniqueFd& socket, Choose choose,
           std::function<void()> refused)
      : shared_(std::move(shared)),
        acceptor_(shared_->loop),
        pause_(shared_->loop),
        choose_(std::move(choose)),
        refused_(std::move(refused)) {
    int family = AF_INET;
    socklen_t length = sizeof family;
    (void)::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &length);
    ErrorCode ignored;  // the descriptor is a listening socket: contract
    acceptor_.assign(family == AF_INET6 ? tcp::v6() : tcp::v4(),
                     ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0), ignored);
  }

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](ErrorCode error, tcp::socket client) {
      self->onAccepted(error, std::move(client));
    });
  }

  void close() {
    closed_ = true;
    ErrorCode ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  void onAccepted(ErrorCode error, tcp::socket client) {
    if (closed_) return;
    if (!error) relay(std::move(client));
    if (!error || error == asio::error::connection_aborted) return accept();
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([self = shared_from_this()](ErrorCode cancelled) {
      if (!cancelled && !self->closed_) self->accept();
    });
  }

  void relay(tcp::socket client) {
    const bool full = shared_->sessions.size() >= shared_->limits.connections;
    const auto backend = full ? std::nullopt : choose_();
    if (backend) return std::make_shared<Session>(shared_, std::move(client))->connect(*backend);
    reset(client);
    refused_();
  }

  std::shared_ptr<Shared> shared_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  Choose choose_;
  std::function<void()> refused_;
  bool closed_ = false;
};

TcpRelay::TcpRelay(asio::io_context& loop, Limits limits)
    : shared_(std::make_shared<Shared>(loop, limits)) {}

TcpRelay::~TcpRelay() {
  shared_->closeAll();
}

std::shared_ptr<void> TcpRelay::serve(const UniqueFd& socket, Choose choose,
                                      std::function<void()> refused) {
  const auto listener =
      std::make_shared<Shared::Listener>(shared_, socket, std::move(choose), std::move(refused));
  listener->accept();
  return {listener.get(), [listener](void*) { listener->close(); }};
}

std::size_t TcpRelay::connections() const {
  return shared_->sessions.size();
}

}  // namespace culvert::services
