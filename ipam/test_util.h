#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "cni/dispatcher.h"
#include "cni/plugin.h"

// What the tests of the IPAM plugins share.
namespace culvert::ipam::testing {

/// A directory of its own, gone with its content in the end.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "culvert-ipam-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string readText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void writeText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

inline std::size_t countEntries(const std::string& path) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path))
    ++count;
  return count;
}

/// What the environment says.
struct Caller {
  std::string containerId = "c1";
  std::string ifName = "eth0";
  std::string args = {};
};

/// The request that the dispatcher makes of `config`: the network is "net" and the version 1.1.0
/// unless the configuration says otherwise.
inline cni::Request makeRequest(const cni::Plugin& plugin, cni::Command command,
                                nlohmann::json config, const Caller& caller = {}) {
  if (!config.contains("cniVersion")) config["cniVersion"] = "1.1.0";
  if (!config.contains("name")) config["name"] = "net";
  cni::Request request;
  request.command = command;
  request.containerId = caller.containerId;
  request.ifName = caller.ifName;
  request.netnsPath = "/run/netns/test";
  request.args = caller.args;
  const Result<void> parsed = cni::parseConfig(config.dump(), plugin, request);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return request;
}

/// Ends a network: no attachment is valid, so not even an index of it is left in /run.
inline void collectAll(const cni::Plugin& plugin, nlohmann::json config) {
  config["cniVersion"] = "1.1.0";
  config["cni.dev/valid-attachments"] = nlohmann::json::array();
  EXPECT_TRUE(plugin.gc(makeRequest(plugin, cni::Command::kGc, config)));
}

template <class T>
std::string errorOf(const Result<T>& result) {
  return result ? "success" : result.error().message;
}

}  // namespace culvert::ipam::testing
