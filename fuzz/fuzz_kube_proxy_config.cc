// A KubeProxyConfiguration: what it means is a section `services` that is right, and warnings and
// errors say in which line. The same bytes are a duration, too.

#include "daemons/services/duration.h"
#include "daemons/services/kube_proxy_config.h"
#include "daemons/services/settings.h"
#include "fuzz/check.h"

using namespace culvert;
using fuzz::check;

namespace {

bool beginsWithALine(const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string::npos && text[digits] == ':';
}

void readKubeProxys(std::string_view text) {
  const auto config = services::parseKubeProxyConfig(text);
  if (!config) {
    check(config.error().code == Errc::kInvalidConfig, "the code is the configuration's");
    return check(beginsWithALine(config.error().message), "an error has its line",
                 config.error().message);
  }
  for (const std::string& warning : config->warnings)
    check(beginsWithALine(warning), "a warning has its line", warning);
  cni::Problems problems;
  (void)services::readSettings({config->section, "services", problems});
  const auto verdict = problems.take();
  check(verdict.has_value(), "what applies is right", verdict ? "" : verdict.error().message);
}

void readDuration(std::string_view text) {
  const auto duration = services::parseDuration(text);
  if (!duration) return;
  check(services::parseDuration(services::durationText(*duration)) == duration,
        "a duration reads back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::asText(data, size);
  readKubeProxys(text);
  readDuration(text);
  return 0;
}
