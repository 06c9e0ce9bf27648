#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/ip.h"
#include "base/mac.h"
#include "base/netns.h"
#include "netlink/nft.h"

/// For netns tests: namespaces, links, datagrams.
namespace culvert::testnet {

inline IpAddress addr(const std::string& text) {
  return IpAddress::parse(text).value();
}
inline IpPrefix prefix(const std::string& text) {
  return IpPrefix::parse(text).value();
}
inline MacAddress mac(const std::string& text) {
  return MacAddress::parse(text).value();
}

/// Runs a command in the namespace the thread is in; the test fails if it does.
inline std::string runCommand(const std::string& command) {
  std::array<char, 4096> buffer{};
  std::string output;
  FILE* pipe = ::popen(("set -e; { " + command + "; } 2>&1").c_str(), "r");
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr)
    output += buffer.data();
  EXPECT_EQ(::pclose(pipe), 0) << command << '\n' << output;
  return output;
}

inline std::string path(const NetNs& ns) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(ns.fd());
}

inline void runIn(const NetNs& ns, const std::string& command) {
  const auto done = ns.run([&]() -> Result<void> {
    runCommand(command);
    return {};
  });
  EXPECT_TRUE(done);
}

/// Leaves the thread in a fresh namespace with lo up.
inline NetNs newNamespace() {
  EXPECT_EQ(::unshare(CLONE_NEWNET), 0) << "these tests need root";
  runCommand("ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0");
  return NetNs::current().value();
}

/// A UDP socket of `ns`, bound to `address` and `port`.
class Udp {
 public:
  Udp(const NetNs& ns, const IpAddress& address, std::uint16_t port) : family_(address.family()) {
    const auto done = ns.run([&]() -> Result<void> {
      fd_ = UniqueFd(::socket(static_cast<int>(family_), SOCK_DGRAM | SOCK_CLOEXEC, 0));
      return {};
    });
    EXPECT_TRUE(done);
    auto [storage, size] = socketAddress(address, port);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size), 0)
        << address.text() << ' ' << std::strerror(errno);
  }

  void send(const IpAddress& to, std::uint16_t port) const {
    auto [storage, size] = socketAddress(to, port);
    EXPECT_EQ(::sendto(fd_.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&storage), size), 1)
        << to.text() << ' ' << std::strerror(errno);
  }

  /// Where the next datagram came from; absent if none comes within `timeoutMs`.
  std::optional<IpAddress> receive(int timeoutMs = 2000) const {
    pollfd ready{fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, timeoutMs) != 1) return std::nullopt;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    char byte = 0;
    EXPECT_EQ(::recvfrom(fd_.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size), 1);
    if (family_ == Family::kV4)
      return IpAddress::fromBytes(family_, &reinterpret_cast<sockaddr_in*>(&from)->sin_addr);
    return IpAddress::fromBytes(family_, &reinterpret_cast<sockaddr_in6*>(&from)->sin6_addr);
  }

  int fd() const { return fd_.get(); }

 private:
  static std::pair<sockaddr_storage, socklen_t> socketAddress(const IpAddress& address,
                                                              std::uint16_t port) {
    sockaddr_storage storage{};
    storage.ss_family = static_cast<sa_family_t>(address.family());
    if (address.family() == Family::kV4) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_port = htons(port);
      std::memcpy(&v4->sin_addr, address.bytes(), 4);
      return {storage, sizeof *v4};
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, address.bytes(), 16);
    return {storage, sizeof *v6};
  }

  Family family_;
  UniqueFd fd_;
};

}  // namespace culvert::testnet
