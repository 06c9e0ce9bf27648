#include "ipam/host_local/resolv_conf.h"

#include <vector>

#include "base/file.h"

namespace culvert::ipam {
namespace {

constexpr std::size_t kMaxBytes = 1U << 20;

std::vector<std::string> words(std::string_view line) {
  constexpr std::string_view kSpace = " \t\v\f\r";
  std::vector<std::string> list;
  std::size_t start = line.find_first_not_of(kSpace);
  while (start != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(kSpace, start), line.size());
    list.emplace_back(line.substr(start, end - start));
    start = line.find_first_not_of(kSpace, end);
  }
  return list;
}

void append(std::vector<std::string>& list, const std::vector<std::string>& line) {
  list.insert(list.end(), line.begin() + 1, line.end());
}

void readLine(const std::vector<std::string>& line, cni::Dns& dns) {
  if (line.size() < 2 || line[0][0] == '#' || line[0][0] == ';') return;
  if (line[0] == "nameserver") dns.nameservers.push_back(line[1]);
  if (line[0] == "domain") dns.domain = line[1];
  if (line[0] == "search") append(dns.search, line);
  if (line[0] == "options") append(dns.options, line);
}

}  // namespace

cni::Dns parseResolvConf(std::string_view content) {
  cni::Dns dns;
  while (!content.empty()) {
    const std::size_t end = std::min(content.find('\n'), content.size());
    readLine(words(content.substr(0, end)), dns);
    content.remove_prefix(std::min(end + 1, content.size()));
  }
  return dns;
}

Result<cni::Dns> readResolvConf(const std::string& path) {
  const std::string content = TRY(readFile(path, kMaxBytes));
  return parseResolvConf(content);
}

}  // namespace culvert::ipam
