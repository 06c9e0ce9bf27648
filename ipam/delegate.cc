#include "ipam/delegate.h"

#include <array>

#include "cni/execute.h"
#include "cni/result_json.h"
#include "ipam/dhcp/dhcp.h"
#include "ipam/host_local/host_local.h"
#include "ipam/static/static.h"

namespace culvert::ipam {
bool needsLink(const std::string& type) {
  return type != kHostLocal.name && type != kStatic.name;
}

const cni::Plugin* findOwn(const std::string& type) {
  for (const cni::Plugin* plugin : {&kDhcp, &kHostLocal, &kStatic}) {
    if (plugin->name == type) return plugin;
  }
  return nullptr;
}

Result<Delegate> Delegate::find(const std::string& type, const cni::Request& request) {
  std::string path = TRY(cni::findPlugin(type, request));
  const cni::Plugin* own = cni::isThisExecutable(path) ? findOwn(type) : nullptr;
  return Delegate(type, std::move(path), own);
}

Result<cni::AddResult> Delegate::add(const cni::Request& request) const {
  const std::string doing = "IPAM plugin " + type_;
  if (own_ != nullptr) return own_->add(request).context(doing);
  const Result<std::string> output = cni::executePlugin(path_, cni::Command::kAdd, request);
  if (output) return cni::parseDelegateResult(*output, request.version).context(doing);
  // CNI 1.1.0 section 4: a delegate whose ADD failed is told to clean up; how that goes is no news.
  static_cast<void>(cni::executePlugin(path_, cni::Command::kDel, request));
  return output.error();
}

Result<void> Delegate::call(const cni::Request& request, cni::Command command,
                            Result<void> (*handler)(const cni::Request&)) const {
  if (own_ != nullptr) return handler(request).context("IPAM plugin " + type_);
  TRY(cni::executePlugin(path_, command, request));
  return {};
}

Result<void> Delegate::del(const cni::Request& request) const {
  return call(request, cni::Command::kDel, own_ != nullptr ? own_->del : nullptr);
}
Result<void> Delegate::check(const cni::Request& request) const {
  return call(request, cni::Command::kCheck, own_ != nullptr ? own_->check : nullptr);
}
Result<void> Delegate::gc(const cni::Request& request) const {
  return call(request, cni::Command::kGc, own_ != nullptr ? own_->gc : nullptr);
}
Result<void> Delegate::status(const cni::Request& request) const {
  return call(request, cni::Command::kStatus, own_ != nullptr ? own_->status : nullptr);
}

}  // namespace culvert::ipam
