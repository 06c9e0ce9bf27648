#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "daemons/frame/config.h"
#include "daemons/frame/log.h"

namespace culvert::frame {

/// Where an HTTP server listens: "127.0.0.1:9810", "[::1]:9810". Port 0: the kernel chooses.
struct ListenAddress {
  IpAddress address;
  std::uint16_t port = 0;

  static std::optional<ListenAddress> parse(std::string_view text);
  std::string text() const;
  bool operator==(const ListenAddress&) const = default;
};

/// What the daemon itself reads. Roles and sources read their own sections.
struct Settings {
  std::string nodeName;
  std::vector<std::string> roles;
  Level logLevel = Level::kInfo;
  LogFormat logFormat = LogFormat::kText;
  std::optional<ListenAddress> metrics;
  std::optional<ListenAddress> health;
  std::string controlSocket;
  std::string controlGroup;
  std::string stateDir;
};

/// The keys of Settings.
std::vector<Key> settingsKeys();

/// Reads and checks them; `roleNames` are the roles that this daemon knows. What is wrong goes to
/// `problems`, and the result must not be used then.
Settings readSettings(const Config& config, const std::vector<std::string>& roleNames,
                      cni::Problems& problems);

}  // namespace culvert::frame
