#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace culvert::plugins::multi {

/// The addresses of a host: itself if it is one, /etc/hosts, then DNS (/etc/resolv.conf). Not
/// getaddrinfo(), which in a static executable needs the very glibc it was built with. kTryAgain if
/// nothing answers, kInvalidConfig if there is no such name.
Result<std::vector<IpAddress>> resolveHost(const std::string& host);

}  // namespace culvert::plugins::multi
