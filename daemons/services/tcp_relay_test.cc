#include "daemons/services/tcp_relay.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "daemons/frame/listen.h"

namespace culvert::services {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

/// A relay between a client and a server of the same loop.
class Relayed : public testing::Test {
 protected:
  explicit Relayed(TcpRelay::Limits limits = {}) : relay_(loop_, limits) {
    server_.open(tcp::v4());
    server_.bind({asio::ip::address_v4::loopback(), 0});
    server_.listen();
    endpoint_ = server_.local_endpoint().port();
    auto socket = frame::listenTcp({*IpAddress::parse("127.0.0.1"), 0});
    EXPECT_TRUE(socket);
    port_ = frame::localAddress(socket->fd.get())->port;
    serving_ = relay_.serve(
        socket->fd,
        [this]() -> std::optional<Backend> {
          if (endpoint_ == 0) return std::nullopt;
          return Backend{*IpAddress::parse("127.0.0.1"), endpoint_};
        },
        [this] { ++refused_; });
  }

  /// Runs the loop until `done` is true.
  template <class Done>
  void runUntil(Done done) {
    loop_.restart();
    while (!done()) {
      if (loop_.run_one_for(std::chrono::seconds(30)) == 0) FAIL() << "nothing happens any more";
    }
  }

  tcp::socket connected() {
    tcp::socket client(loop_);
    client.connect({asio::ip::address_v4::loopback(), port_});
    return client;
  }

  tcp::socket accepted() {
    std::optional<tcp::socket> peer;
    server_.async_accept([&](ErrorCode error, tcp::socket socket) {
      EXPECT_FALSE(error);
      peer = std::move(socket);
    });
    runUntil([&] { return peer.has_value(); });
    return *std::move(peer);
  }

  void send(tcp::socket& from, const std::string& text) { asio::write(from, asio::buffer(text)); }

  struct Heard {
    std::string text;
    ErrorCode end;
  };
  /// So many bytes, or until the end.
  Heard hear(tcp::socket& at, std::size_t bytes) {
    Heard heard{std::string(bytes, '\0'), {}};
    bool done = false;
    asio::async_read(at, asio::buffer(heard.text), [&](ErrorCode error, std::size_t count) {
      heard.text.resize(count);
      heard.end = error;
      done = true;
    });
    runUntil([&] { return done; });
    return heard;
  }

  asio::io_context loop_;
  tcp::acceptor server_{loop_};
  TcpRelay relay_;
  std::uint16_t port_ = 0;
  std::shared_ptr<void> serving_;
  std::uint16_t endpoint_ = 0;  // the port of the server; 0: there is none
  int refused_ = 0;
};

class RelayOfOne : public Relayed {
 protected:
  RelayOfOne() : Relayed({.connections = 1}) {}
};

TEST_F(Relayed, CarriesBytesBothWays) {
  tcp::socket client = connected(), server = accepted();
  send(client, "question");
  EXPECT_EQ(hear(server, 8).text, "question");
  send(server, "answer");
  EXPECT_EQ(hear(client, 6).text, "answer");
}

TEST_F(Relayed, CarriesMoreThanItsBufferHolds) {
  tcp::socket client = connected(), server = accepted();
  std::string text(1'000'000, 'x');
  text += "end";
  bool sent = false;
  asio::async_write(client, asio::buffer(text), [&](ErrorCode error, std::size_t) {
    EXPECT_FALSE(error);
    sent = true;
  });
  EXPECT_EQ(hear(server, text.size()).text, text);
  EXPECT_TRUE(sent);
}

TEST_F(Relayed, AnAnswerFollowsTheEndOfTheQuestion) {
  tcp::socket client = connected(), server = accepted();
  send(client, "all");
  client.shutdown(tcp::socket::shutdown_send);
  const Heard question = hear(server, 100);
  EXPECT_EQ(question.text, "all");
  EXPECT_EQ(question.end, asio::error::eof);
  send(server, "late answer");
  server.shutdown(tcp::socket::shutdown_send);
  const Heard answer = hear(client, 100);
  EXPECT_EQ(answer.text, "late answer");
  EXPECT_EQ(answer.end, asio::error::eof);
  runUntil([&] { return relay_.connections() == 0; });
}

TEST_F(Relayed, AResetGoesOn) {
  tcp::socket client = connected(), server = accepted();
  send(client, "a");
  EXPECT_EQ(hear(server, 1).text, "a");
  server.set_option(asio::socket_base::linger(true, 0));
  server.close();
  EXPECT_EQ(hear(client, 1).end, asio::error::connection_reset);
  runUntil([&] { return relay_.connections() == 0; });
}

TEST_F(Relayed, WithoutAnEndpointItIsReset) {
  endpoint_ = 0;
  tcp::socket client = connected();
  EXPECT_EQ(hear(client, 1).end, asio::error::connection_reset);
  EXPECT_EQ(refused_, 1);
}

TEST_F(Relayed, AnEndpointThatRefusesIsAReset) {
  const auto port = server_.local_endpoint().port();
  server_.close();
  endpoint_ = port;
  tcp::socket client = connected();
  EXPECT_EQ(hear(client, 1).end, asio::error::connection_reset);
  EXPECT_EQ(refused_, 0) << "it was not refused at once";
}

TEST_F(RelayOfOne, RefusesMoreThanItsLimit) {
  tcp::socket first = connected(), server = accepted();
  tcp::socket second = connected();
  EXPECT_EQ(hear(second, 1).end, asio::error::connection_reset);
  EXPECT_EQ(refused_, 1);
  send(first, "still here");
  EXPECT_EQ(hear(server, 10).text, "still here");
}

TEST_F(Relayed, ConnectionsOutliveTheirListener) {
  tcp::socket client = connected(), server = accepted();
  serving_.reset();
  send(client, "on");
  EXPECT_EQ(hear(server, 2).text, "on");
  tcp::socket late(loop_);
  ErrorCode refused;
  late.connect({asio::ip::address_v4::loopback(), port_}, refused);
  EXPECT_EQ(refused, asio::error::connection_refused);
}

}  // namespace
}  // namespace culvert::services
