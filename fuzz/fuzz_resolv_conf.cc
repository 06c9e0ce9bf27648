// resolv.conf as host-local reads it.

#include "fuzz/check.h"
#include "ipam/host_local/resolv_conf.h"

using namespace culvert;
using fuzz::check;

namespace {

void checkWords(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    check(!word.empty() && word.find_first_of(" \t\r\n") == std::string::npos, "one word", word);
  }
}

std::string write(const cni::Dns& dns) {
  std::string text;
  for (const std::string& each : dns.nameservers)
    text += "nameserver " + each + "\n";
  if (!dns.domain.empty()) text += "domain " + dns.domain + "\n";
  for (const std::string& each : dns.search)
    text += "search " + each + "\n";
  for (const std::string& each : dns.options)
    text += "options " + each + "\n";
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cni::Dns dns = ipam::parseResolvConf(fuzz::asText(data, size));
  checkWords(dns.nameservers);
  checkWords(dns.search);
  checkWords(dns.options);
  check(ipam::parseResolvConf(write(dns)) == dns, "written again it reads the same", write(dns));
  return 0;
}
