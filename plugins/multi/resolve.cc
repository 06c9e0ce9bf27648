#include "plugins/multi/resolve.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/file.h"

namespace culvert::plugins::multi {
namespace {

constexpr std::size_t kMaxHostsBytes = 1U << 20;
constexpr int kQuerySeconds = 2;

std::vector<std::string> splitWords(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  std::vector<std::string> words;
  std::size_t start = line.find_first_not_of(kSpace);
  while (start != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(kSpace, start), line.size());
    words.emplace_back(line.substr(start, end - start));
    start = line.find_first_not_of(kSpace, end);
  }
  return words;
}

/// The address of one line of hosts(5), if the line is about `host`.
std::optional<IpAddress> addressIn(std::string_view line, const std::string& host) {
  const std::vector<std::string> words = splitWords(line.substr(0, line.find('#')));
  const bool named = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return strcasecmp(word.c_str(), host.c_str()) == 0;
  });
  return named ? IpAddress::parse(words.front()) : std::nullopt;
}

std::vector<IpAddress> lookUpHosts(const std::string& host) {
  std::vector<IpAddress> found;
  const std::string text = readFile("/etc/hosts", kMaxHostsBytes).value_or("");
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const auto address = addressIn(std::string_view(text).substr(start, end - start), host);
    if (address) found.push_back(*address);
    start = end + 1;
  }
  return found;
}

/// The resolver's state is this object's own: no other thread sees it.
class Resolver {
 public:
  Resolver() {
    ok_ = ::res_ninit(&state_) == 0;
    state_.retrans = kQuerySeconds;
    state_.retry = 1;
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver() {
    if (ok_) ::res_nclose(&state_);
  }

  /// Appends the answers; false if nobody answered.
  bool query(const std::string& host, ns_type type, Family family, std::vector<IpAddress>& found) {
    if (!ok_) return false;
    std::array<unsigned char, NS_MAXMSG> answer{};
    const int length =
        ::res_nsearch(&state_, host.c_str(), ns_c_in, type, answer.data(), answer.size());
    if (length < 0) return state_.res_h_errno != TRY_AGAIN;
    ns_msg message{};
    const int used = std::min<int>(length, static_cast<int>(answer.size()));
    if (::ns_initparse(answer.data(), used, &message) != 0) return false;
    for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
      ns_rr record{};
      if (::ns_parserr(&message, ns_s_an, i, &record) != 0) break;
      if (ns_rr_type(record) == type && ns_rr_rdlen(record) == addressBytes(family))
        found.push_back(IpAddress::fromBytes(family, ns_rr_rdata(record)));
    }
    return true;
  }

 private:
  struct __res_state state_ {};
  bool ok_ = false;
};

}  // namespace

Result<std::vector<IpAddress>> resolveHost(const std::string& host) {
  if (const auto address = IpAddress::parse(host)) return std::vector{*address};
  std::vector<IpAddress> found = lookUpHosts(host);
  if (!found.empty()) return found;
  Resolver resolver;
  const bool answered4 = resolver.query(host, ns_t_a, Family::kV4, found);
  const bool answered6 = resolver.query(host, ns_t_aaaa, Family::kV6, found);
  if (!found.empty()) return found;
  if (!answered4 || !answered6)
    return makeError(Errc::kTryAgain, "no name server answers for '" + host + "'");
  return makeError(Errc::kInvalidConfig, "there is no host '" + host + "'");
}

}  // namespace culvert::plugins::multi
