// What listens: retried, moved, and node ports at localhost.
#include "daemons/services/listeners.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>

#include "daemons/services/health_check_ports.h"
#include "daemons/services/localhost_ports.h"
#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using test::ip;
using test::service;
using test::slice;
using testing::HasSubstr;

/// A port that nobody listens at right now.
std::uint16_t freePort() {
  const auto socket = frame::listenTcp({ip("127.0.0.1"), 0});
  return frame::localAddress(socket->fd.get())->port;
}

class Listening : public testing::Test {
 protected:
  Model::Change set(const objects::Service& one) {
    services_[one.key()] = one;
    model_.set(one.key(), &services_[one.key()]);
    return model_.refresh();
  }
  Model::Change set(const std::string& name, const objects::EndpointSlice& one) {
    slices_[name] = one;
    model_.set(Key{"ns", name}, &slices_[name]);
    return model_.refresh();
  }
  void SetUp() override { model_.setNode({"n1", "", {}}); }

  boost::asio::io_context loop_;
  Listeners listeners_{loop_, frame::Log(frame::LogFormat::kText, frame::Level::kError)};
  Model model_;
  std::map<Key, objects::Service> services_;
  std::map<std::string, objects::EndpointSlice> slices_;
};

TEST_F(Listening, WhatCannotIsAComplaintUntilItCan) {
  auto taken = frame::listenTcp({ip("127.0.0.1"), 0});
  const auto port = frame::localAddress(taken->fd.get()).value();
  int failures = 0;
  listeners_.onFailure([&](const std::string&) { ++failures; });
  listeners_.want("a port", port,
                  [](UniqueFd fd) { return std::make_shared<UniqueFd>(std::move(fd)); });
  EXPECT_FALSE(listeners_.isListening("a port"));
  ASSERT_EQ(listeners_.complaints().size(), 1U);
  EXPECT_THAT(listeners_.complaints()[0].what, HasSubstr("a port: listen at " + port.text()));
  EXPECT_EQ(failures, 1);
  taken->fd = UniqueFd();
  while (!listeners_.isListening("a port") && loop_.run_one() > 0) {
  }
  EXPECT_TRUE(listeners_.isListening("a port"));
  EXPECT_TRUE(listeners_.complaints().empty());
}

TEST_F(Listening, LocalhostNodePortsAreThoseWithAnEndpoint) {
  LocalhostPorts ports(loop_, listeners_, model_, [] {});
  const std::uint16_t port = freePort();
  const std::string name = LocalhostPorts::kPrefix + ("127.0.0.1:" + std::to_string(port));
  ports.update(
      set(service("a", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80, 'nodePort': " +
                           std::to_string(port) + "}]}"))
          .frontends);
  EXPECT_FALSE(listeners_.isListening(name)) << "no endpoint: the kernel refuses";
  ports.update(set("a1", slice("a", {"10.1.0.1 n1"})).frontends);
  EXPECT_TRUE(listeners_.isListening(name));
  EXPECT_EQ(listeners_.countOf(LocalhostPorts::kPrefix), 1U);
  ports.update(set("a1", slice("a", {"10.1.0.1 n1 unready"})).frontends);
  EXPECT_FALSE(listeners_.isListening(name));
}

class HealthChecks : public Listening {
 protected:
  HealthCheckPorts ports_{loop_, listeners_, [](const Key&) { return frame::HttpResponse(); }};
  bool listens(const std::string& service, const std::string& address) const {
    return listeners_.isListening(service + "'s health check node port at " + address);
  }
};

TEST_F(HealthChecks, FollowAddressesAndServices) {
  const Key a{"ns", "a"};
  ports_.set(a, freePort());
  ports_.reconcile({ip("127.0.0.1")});
  EXPECT_TRUE(listens("ns/a", "127.0.0.1"));
  ports_.reconcile({ip("127.0.0.2")});
  EXPECT_FALSE(listens("ns/a", "127.0.0.1"));
  EXPECT_TRUE(listens("ns/a", "127.0.0.2"));
  ports_.set(a, 0);
  ports_.reconcile({ip("127.0.0.2")});
  EXPECT_FALSE(listens("ns/a", "127.0.0.2"));
}

TEST_F(HealthChecks, APortMayGetANewOwner) {
  const Key z{"ns", "z"}, a{"ns", "a"};
  const std::uint16_t port = freePort();
  ports_.set(z, port);
  ports_.reconcile({ip("127.0.0.1")});
  ports_.set(z, 0);
  ports_.set(a, port);
  ports_.reconcile({ip("127.0.0.1")});
  EXPECT_TRUE(listens("ns/a", "127.0.0.1"));
  EXPECT_TRUE(listeners_.complaints().empty());
}

}  // namespace
}  // namespace culvert::services
