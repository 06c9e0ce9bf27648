#include "daemons/routing/state_file.h"

#include <nlohmann/json.hpp>

#include "base/file.h"

namespace culvert::routing {
namespace {

using nlohmann::json;

constexpr std::size_t kBytesMax = 64 << 20;
constexpr const char* kHeader = "culvert routing state 1";

template <class T>
void keep(const json& object, std::map<std::string, T>& objects) {
  auto parsed = T::parse(object);
  if (!parsed) return;
  const std::string name = parsed->meta.name;
  objects.emplace(name, *std::move(parsed));
}

void keepLine(const std::string& line, KnownState& state) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return;
  const std::string kind = object.value("kind", "");
  if (kind == "Node") keep(object, state.nodes);
  if (kind == "IPPool") keep(object, state.pools);
  if (kind == "AddressBlock") keep(object, state.blocks);
}

}  // namespace

void StateWriter::add(const objects::Node& node) {
  lines_ += node.toJson().dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}
void StateWriter::add(const objects::IpPool& pool) {
  lines_ += pool.toJson().dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}
void StateWriter::add(const objects::AddressBlock& block) {
  lines_ += block.toJson().dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<void> StateWriter::save(const std::string& path) const {
  TRY(ensureDirectory(path.substr(0, path.rfind('/')), 0755).context("save the state"));
  return replaceFile(path, std::string(kHeader) + "\n" + lines_, 0600).context("save the state");
}

Result<KnownState> loadState(const std::string& path) {
  const std::string text = TRY(readFile(path, kBytesMax).context("load the state"));
  std::size_t at = text.find('\n');
  if (at == std::string::npos || text.compare(0, at, kHeader) != 0)
    return makeError(Errc::kDecode, path + " is not a state file of this version");
  KnownState state;
  while (++at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    keepLine(text.substr(at, end - at), state);
    at = end;
  }
  return state;
}

}  // namespace culvert::routing
