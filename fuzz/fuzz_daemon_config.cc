// culvertd.yaml: the file as YAML, and its values through a schema with every type of key. The
// first byte picks whether the rest is the file, a flag's value or culvertctl's answer from the
// daemon.

#include <sys/mman.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "daemons/culvertctl/client.h"
#include "daemons/culvertctl/output.h"
#include "daemons/frame/load.h"
#include "daemons/frame/yaml_document.h"
#include "fuzz/check.h"

using namespace culvert;
using fuzz::check;

namespace {

const frame::Parts& parts() {
  using frame::KeyType;
  static const frame::Parts kParts = [] {
    frame::RoleType role;
    role.name = "routing";
    role.keys = {{"routing.mtu", KeyType::kInteger, "", ""},
                 {"routing.fast", KeyType::kBoolean, "", ""},
                 {"routing.any", KeyType::kAny, "", ""},
                 {"routing.peers[].address", KeyType::kString, "", ""},
                 {"routing.peers[].names", KeyType::kStrings, "", ""}};
    role.check = [](const frame::Config& config, const frame::Settings&, cni::Problems& problems) {
      const auto section = config.section("routing", problems);
      (void)section.integer("mtu", 1, 65535);
      (void)section.boolean("fast");
      for (const auto& peer : section.objects("peers")) {
        (void)peer.address("address");
        (void)peer.strings("names");
      }
    };
    frame::Parts all;
    all.roles.push_back(std::move(role));
    return all;
  }();
  return kParts;
}

/// A file without a folder, whose content is `text`.
std::string fileWith(std::string_view text) {
  static const int kFd = ::memfd_create("culvertd.yaml", MFD_CLOEXEC);
  check(::ftruncate(kFd, 0) == 0 && ::lseek(kFd, 0, SEEK_SET) == 0, "an empty file");
  check(writeAll(kFd, text).has_value(), "the file is written");
  return "/proc/self/fd/" + std::to_string(kFd);
}

void checkLoaded(const frame::ConfigInput& input) {
  const auto loaded = frame::load(parts(), input);
  if (!loaded) {
    check(loaded.error().code == Errc::kInvalidConfig, "code 7", loaded.error().message);
    check(!loaded.error().message.empty(), "it says what is wrong");
    for (const char c : loaded.error().message) {
      const auto byte = static_cast<unsigned char>(c);
      check(byte == '\n' || byte >= ' ', "no control characters", loaded.error().message);
    }
    return;
  }
  check(!loaded->settings.nodeName.empty(), "a node has a name");
  check(loaded->settings.controlSocket.starts_with('/'), "absolute",
        loaded->settings.controlSocket);
  check(loaded->config.differences(loaded->config).empty(), "equal to itself");
}

void readFileText(std::string_view text) {
  const auto document = frame::parseYaml(text);
  check(document || document.error().code == Errc::kDecode, "code 6");
  frame::ConfigInput input;
  input.file = fileWith(text);
  input.fileNamed = true;
  checkLoaded(input);
}

void readFlag(const std::string& text) {
  const std::size_t equals = std::min(text.find('='), text.size());
  frame::ConfigInput input;
  input.file = "/nonexistent/culvertd.yaml";
  input.flags = {{"roles", "routing", "--roles"},
                 {text.substr(0, equals), text.substr(std::min(equals + 1, text.size())), "--set"}};
  checkLoaded(input);
}

void readAnswer(const std::string& text) {
  const auto answer = ctl::parseResponse(text);
  if (answer) check(!ctl::yaml(*answer).empty(), "anything is YAML");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz::asText(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      readFileText(text);
      break;
    case 1:
      readFlag(std::string(text));
      break;
    default:
      readAnswer(std::string(text));
  }
  return 0;
}
