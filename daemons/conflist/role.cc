#include "daemons/conflist/role.h"

#include <algorithm>

#include "base/text.h"
#include "daemons/conflist/conflist.h"

namespace culvert::conflist {
namespace {

using frame::Key;
using frame::KeyType;
using frame::RoleStatus;
using routing::LocalNetwork;

class CniRole final : public frame::Role {
 public:
  CniRole(const frame::RoleContext& context, Settings settings,
          std::shared_ptr<routing::LocalNetworkBoard> board)
      : log_(context.log), settings_(std::move(settings)), board_(std::move(board)) {}

  Result<void> start() override {
    auto installed = installPlugins(settings_);
    if (installed)
      foreign_ = *std::move(installed);
    else
      installing_ = std::move(installed).error();
    board_->onChange([this](const LocalNetwork& now) { write(now); });
    write(board_->now());
    return {};
  }

  /// The configuration stays: what it describes goes on forwarding.
  void stop(std::function<void()> stopped) override {
    board_->onChange({});
    stopped();
  }

  RoleStatus status() const override {
    RoleStatus status;
    status.summary = written_ ? settings_.confDir + "/" + settings_.fileName + " is written"
                              : "waiting for routing";
    status.facts = {{"file", settings_.confDir + "/" + settings_.fileName},
                    {"binDir", settings_.binDir}};
    if (writing_)
      status.complaints.push_back({writing_->message, "see cni.confDir and cni.fileName"});
    if (installing_)
      status.complaints.push_back({installing_->message, "see cni.binDir and cni.plugin"});
    if (!foreign_.empty())
      status.complaints.push_back(
          {"plugins of somebody else in " + settings_.binDir + " stay: " + joined(foreign_, " "),
           "remove them, or set cni.replacePlugins: true"});
    if (!written_)
      status.state = writing_ ? RoleStatus::State::kFailed : RoleStatus::State::kStarting;
    else
      status.state =
          status.complaints.empty() ? RoleStatus::State::kOk : RoleStatus::State::kDegraded;
    return status;
  }

 private:
  void write(const LocalNetwork& now) {
    if (!now.ready || now.networks.empty()) return;
    auto done = ensureFile(settings_, render(settings_, now));
    writing_.reset();
    if (done) {
      if (!written_)
        log_.info("runtimes may add pods",
                  {{"file", settings_.confDir + "/" + settings_.fileName}});
      written_ = true;
      return;
    }
    writing_ = std::move(done).error();
    log_.error("cannot write the network configuration", {{"why", writing_->message}});
  }

  frame::Log log_;
  Settings settings_;
  std::shared_ptr<routing::LocalNetworkBoard> board_;
  std::vector<std::string> foreign_;
  std::optional<Error> installing_, writing_;
  bool written_ = false;
};

std::vector<Key> keys() {
  return {
      {"cni.confDir", KeyType::kString, "/etc/cni/net.d", "where runtimes look for networks"},
      {"cni.fileName", KeyType::kString, "10-culvert.conflist",
       "runtimes take the first file in order of names"},
      {"cni.network", KeyType::kString, "culvert", "the network's name"},
      {"cni.binDir", KeyType::kString, "/opt/cni/bin",
       "where runtimes look for plugins; empty: install none"},
      {"cni.plugin", KeyType::kString, "beside culvertd", "the file culvert-cni to install"},
      {"cni.replacePlugins", KeyType::kBoolean, "false", "also replace plugins of others"},
      {"cni.portmap", KeyType::kBoolean, "true", "pods may map ports"},
      {"cni.podAnnotations", KeyType::kBoolean, "false",
       "pods may ask for addresses and pools by annotations; each ADD asks the source for the pod"},
      {"cni.bandwidth", KeyType::kBoolean, "true", "pods may be limited"},
  };
}

void check(const frame::Config& config, const frame::Settings& settings, cni::Problems& problems) {
  const auto section = config.section("cni", problems);
  (void)readSettings(section);
  (void)section.boolean("podAnnotations");
  const auto& roles = settings.roles;
  if (std::count(roles.begin(), roles.end(), "cni") != 0 &&
      std::count(roles.begin(), roles.end(), "routing") == 0)
    problems.add("roles", "cni needs routing, which knows this node's networks");
}

Result<void> cleanup(const frame::Config& config, const frame::Settings&,
                     const frame::Removed& removed) {
  cni::Problems problems;
  const Settings settings = readSettings(config.section("cni", problems));
  TRY(problems.take());
  return cleanUp(settings, removed);
}

}  // namespace

frame::RoleType roleType(std::shared_ptr<routing::LocalNetworkBoard> board) {
  const auto create =
      [board = std::move(board)](
          const frame::RoleContext& context) -> Result<std::unique_ptr<frame::Role>> {
    cni::Problems problems;
    const auto section = context.config.section("cni", problems);
    Settings settings = readSettings(section);
    if (section.boolean("podAnnotations")) settings.podAddresses = context.settings.controlSocket;
    TRY(problems.take());
    return std::unique_ptr<frame::Role>(new CniRole(context, std::move(settings), board));
  };
  return {"cni", keys(), check, create, cleanup};
}

}  // namespace culvert::conflist
