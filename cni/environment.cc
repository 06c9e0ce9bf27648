#include "cni/environment.h"

#include <net/if.h>
#include <strings.h>

#include <algorithm>
#include <array>

#include "base/netns.h"

namespace culvert::cni {
namespace {

constexpr std::array<std::string_view, 6> kCommands{"ADD", "DEL",    "CHECK",
                                                    "GC",  "STATUS", "VERSION"};

std::vector<std::string> splitPath(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t end = std::min(text.find(':', start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

std::string shown(const std::string& value) {
  constexpr std::size_t kShown = 80;
  return "'" + (value.size() > kShown ? value.substr(0, kShown) + "..." : value) + "'";
}

/// Collects what is wrong with the environment.
class Environment {
 public:
  explicit Environment(const std::function<const char*(const char*)>& getEnv) : getEnv_(getEnv) {}

  std::string optional(const char* name) {
    const char* value = getEnv_(name);
    return value == nullptr ? "" : value;
  }
  std::string required(const char* name) {
    std::string value = optional(name);
    if (value.empty()) missing_ += (missing_.empty() ? "" : ",") + std::string(name);
    return value;
  }
  void malformed(const std::string& what) { malformed_ += (malformed_.empty() ? "" : "; ") + what; }

  Result<void> take() const {
    if (missing_.empty() && malformed_.empty()) return {};
    std::string message;
    if (!missing_.empty()) message = "required env variables [" + missing_ + "] missing";
    if (!malformed_.empty()) message += (message.empty() ? "" : "; ") + malformed_;
    return makeError(Errc::kInvalidEnvironment, message);
  }

 private:
  const std::function<const char*(const char*)>& getEnv_;
  std::string missing_, malformed_;
};

void readAttachment(Environment& environment, Request& request) {
  request.containerId = environment.required("CNI_CONTAINERID");
  if (!request.containerId.empty() && !isIdentifier(request.containerId)) {
    environment.malformed("CNI_CONTAINERID: invalid characters in container ID " +
                          shown(request.containerId));
  }
  const bool mayBeEmpty = request.command == Command::kDel;
  request.netnsPath =
      mayBeEmpty ? environment.optional("CNI_NETNS") : environment.required("CNI_NETNS");
  request.ifName = environment.required("CNI_IFNAME");
  if (const auto problem = interfaceNameProblem(request.ifName)) {
    environment.malformed("CNI_IFNAME: interface name " + shown(request.ifName) + " " + *problem);
  }
  request.args = environment.optional("CNI_ARGS");
}

}  // namespace

std::optional<std::string> interfaceNameProblem(const std::string& name) {
  if (name.size() >= IFNAMSIZ) return "is longer than 15 bytes";
  if (name == "." || name == ".." || name == "all" || name == "default") return "is reserved";
  if (name.find('%') != std::string::npos) return "has a '%' in it, a pattern to the kernel";
  const auto bad = [](unsigned char c) {
    return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r');
  };
  if (std::any_of(name.begin(), name.end(), bad)) return "has a '/', ':' or white space in it";
  // U+0085, U+00A0, U+1680, U+2000-200A, U+2028/9, U+202F, U+205F, U+3000 in UTF-8
  for (const char* space :
       {"\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80", "\xe2\x81\x9f", "\xe3\x80\x80"}) {
    if (name.find(space) != std::string::npos) return "has white space in it";
  }
  return std::nullopt;
}

bool isIdentifier(std::string_view text) {
  const auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && alnum(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return alnum(c) || c == '_' || c == '.' || c == '-';
  });
}

Result<Command> parseCommand(std::string_view text) {
  const auto found = std::find(kCommands.begin(), kCommands.end(), text);
  if (found == kCommands.end()) {
    return makeError(Errc::kInvalidEnvironment, "unknown CNI_COMMAND: " + std::string(text));
  }
  return static_cast<Command>(found - kCommands.begin());
}

std::string_view commandText(Command command) {
  return kCommands.at(static_cast<std::size_t>(command));
}

Result<void> readEnvironment(const std::function<const char*(const char*)>& getEnv,
                             Request& request) {
  Environment environment(getEnv);
  const bool attachment = request.command == Command::kAdd || request.command == Command::kDel ||
                          request.command == Command::kCheck;
  if (attachment) readAttachment(environment, request);
  request.pluginPath = splitPath(environment.required("CNI_PATH"));
  return environment.take();
}

Result<void> refuseOwnNetns(const std::function<const char*(const char*)>& getEnv,
                            const std::string& netnsPath) {
  const char* override = getEnv("CNI_NETNS_OVERRIDE");
  if (override != nullptr &&
      (std::string_view(override) == "1" || strcasecmp(override, "true") == 0)) {
    return {};
  }
  const auto target = NetNs::open(netnsPath);
  const NetNs own = TRY(NetNs::current());
  if (!target || !target->sameAs(own)) return {};
  return makeError(
      Errc::kInvalidNetns, "plugin's netns and netns from CNI_NETNS should not be the same",
      "CNI_NETNS '" + netnsPath + "' is the network namespace the plugin itself runs in");
}

}  // namespace culvert::cni
