#include "daemons/bgp/bird_socket.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <boost/asio.hpp>  // after <utility>, which it forgets (1.74)

namespace culvert::bgp {
namespace {

namespace asio = boost::asio;
using Code = boost::system::error_code;
using Stream = asio::local::stream_protocol;

constexpr std::chrono::seconds kCommandTime{20};
constexpr int kNothingMatches = 8003;

Error gone(const std::string& path, const Code& code) {
  return makeError(Errc::kTryAgain, "BIRD's socket " + path + ": " + code.message());
}

Result<void> outcome(Result<Reply> reply) {
  const Reply answer = TRY(std::move(reply));
  if (!answer.failed()) return {};
  return makeError(Errc::kInvalidConfig, "BIRD: " + answer.text());
}

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

/// Nothing that ends the string or the command.
bool isQuotable(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '"' || static_cast<unsigned char>(c) < 0x20; });
}

}  // namespace

class BirdSocket::Connection : public std::enable_shared_from_this<BirdSocket::Connection> {
  /// Runs `what` if this is still wanted then.
  template <class F>
  auto guarded(F what) {
    return [self = shared_from_this(), what = std::move(what)](auto&&... arguments) mutable {
      if (!self->stopped_) what(std::forward<decltype(arguments)>(arguments)...);
    };
  }

  /// As guarded(), for what belongs to the connection as it is now and not to a later one.
  template <class F>
  auto onConnection(F what) {
    return guarded([this, life = life_, what = std::move(what)](const Code& code, auto&&... rest) {
      if (life == life_) what(code, std::forward<decltype(rest)>(rest)...);
    });
  }

 public:
  Connection(asio::io_context& loop, std::string path)
      : path_(std::move(path)), socket_(loop), timer_(loop) {}

  void enqueue(std::string line, DoneReply done) {
    queue_.push_back({std::move(line) + "\n", std::move(done)});
    asio::post(socket_.get_executor(), guarded([this] { next(); }));
  }

  void stop() {
    stopped_ = true;
    queue_.clear();
    disconnect();
  }

 private:
  struct Command {
    std::string line;
    DoneReply done;
  };

  void next() {
    if (busy_ || queue_.empty()) return;
    busy_ = true;
    timer_.expires_after(kCommandTime);
    timer_.async_wait(onConnection([this](const Code& code) {
      if (!code) fail(makeError(Errc::kTryAgain, "BIRD's socket " + path_ + ": no answer"));
    }));
    if (connected_) return write();
    connect();
  }

  void connect() {
    if (path_.size() > 107)
      return fail(makeError(Errc::kInvalidConfig, "a path of over 107 bytes: " + path_));
    socket_.async_connect(Stream::endpoint(path_), onConnection([this](const Code& code) {
                            if (code) return fail(gone(path_, code));
                            connected_ = true;
                            read([this](Reply&&) { write(); });  // its greeting
                          }));
  }

  void write() {
    asio::async_write(socket_, asio::buffer(queue_.front().line),
                      onConnection([this](const Code& code, std::size_t) {
                        if (code) return fail(gone(path_, code));
                        read([this](Reply&& reply) { finish(std::move(reply)); });
                      }));
  }

  void read(std::function<void(Reply&&)> then) {
    socket_.async_read_some(
        asio::buffer(buffer_),
        onConnection([this, then = std::move(then)](const Code& code, std::size_t size) {
          if (code) return fail(gone(path_, code));
          auto reply = reader_.feed({buffer_.data(), size});
          if (!reply) return fail(std::move(reply).error());
          if (!*reply) return read(then);
          then(std::move(**reply));
        }));
  }

  void finish(Result<Reply> result) {
    timer_.cancel();
    busy_ = false;
    ++life_;
    const DoneReply done = std::move(queue_.front().done);
    queue_.pop_front();
    asio::post(socket_.get_executor(), guarded([this] { next(); }));
    done(std::move(result));
  }

  void fail(Error error) {
    disconnect();
    finish(std::move(error));
  }

  void disconnect() {
    Code ignored;
    socket_.close(ignored);
    connected_ = false;
    reader_ = {};
  }

  const std::string path_;
  Stream::socket socket_;
  asio::steady_timer timer_;
  std::deque<Command> queue_;
  ReplyReader reader_;
  std::array<char, 16384> buffer_{};
  std::uint64_t life_ = 0;  // of a command: what comes late from an earlier one is ignored
  bool busy_ = false;
  bool connected_ = false;
  bool stopped_ = false;
};

BirdSocket::BirdSocket(asio::io_context& loop, std::string path)
    : connection_(std::make_shared<Connection>(loop, std::move(path))) {}

BirdSocket::~BirdSocket() {
  connection_->stop();
}

void BirdSocket::command(std::string line, DoneReply done) {
  connection_->enqueue(std::move(line), std::move(done));
}

void BirdSocket::check(const std::string& file, Done done) {
  command("configure check " + quoted(file),
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::configure(const std::string& file, Done done) {
  command("configure " + quoted(file),
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::configureForNow(const std::string& file, std::chrono::seconds time, Done done) {
  command("configure " + quoted(file) + " timeout " + std::to_string(time.count()),
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::confirm(Done done) {
  command("configure confirm",
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::undo(Done done) {
  command("configure undo",
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::gracefulRestart(Done done) {
  command("graceful restart",
          [done = std::move(done)](Result<Reply> reply) { done(outcome(std::move(reply))); });
}

void BirdSocket::status(std::function<void(Result<BirdStatus>)> done) {
  command("show status", [done = std::move(done)](Result<Reply> reply) {
    if (!reply) return done(std::move(reply).error());
    done(parseStatus(*reply));
  });
}

void BirdSocket::protocols(const std::string& pattern,
                           std::function<void(Result<std::vector<ProtocolStatus>>)> done) {
  const std::string which = isQuotable(pattern) ? pattern : "?";
  command("show protocols all " + quoted(which), [done = std::move(done)](Result<Reply> reply) {
    if (!reply) return done(std::move(reply).error());
    if (reply->code() == kNothingMatches)
      return done(makeError(Errc::kNotFound, "BIRD: " + reply->text()));
    if (reply->failed()) return done(makeError(Errc::kIo, "BIRD: " + reply->text()));
    done(parseProtocols(*reply));
  });
}

}  // namespace culvert::bgp
