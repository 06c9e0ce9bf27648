#include "ipam/host_local/reservation.h"

#include "cni/environment.h"

namespace culvert::ipam {
namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";
constexpr std::size_t kMaxIfNameBytes = 15;  // IFNAMSIZ without its NUL

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool couldBeIfName(std::string_view text) {
  if (text.empty() || text.size() > kMaxIfNameBytes) return false;
  return text.find_first_of(kSpace) == std::string_view::npos &&
         text.find('\0') == std::string_view::npos;
}

}  // namespace

Reservation parseReservation(std::string_view content) {
  if (content.empty()) return Unowned{};
  const std::string_view text = trim(content);
  const std::size_t lineEnd = text.find('\n');
  const std::string_view id = trim(text.substr(0, lineEnd));
  if (!cni::isIdentifier(id)) return Foreign{};
  if (lineEnd == std::string_view::npos) return Owner{std::string(id), ""};
  const std::string_view ifName = trim(text.substr(lineEnd));
  if (!couldBeIfName(ifName)) return Foreign{};
  return Owner{std::string(id), std::string(ifName)};
}

std::string formatReservation(const Owner& owner) {
  return owner.isLegacy() ? owner.containerId : owner.containerId + "\r\n" + owner.ifName;
}

}  // namespace culvert::ipam
