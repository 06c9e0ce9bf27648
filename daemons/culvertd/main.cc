#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "daemons/culvertd/parts.h"
#include "daemons/frame/command_line.h"
#include "daemons/frame/daemon.h"
#include "daemons/frame/listen.h"
#include "daemons/frame/version.h"

namespace culvert {
namespace {

using frame::Daemon;
using frame::Handover;

int complain(const Error& error) {
  (void)std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

/// Executes this program's file again, which is a newer one after an upgrade. Returns only if that
/// failed, and with the descriptors still open.
Error executeAgain(const Handover& handover, char** argv) {
  const auto& file = frame::ownExecutable();
  if (!file) return file.error();
  if (auto kept = handover.prepare(); !kept) return std::move(kept).error();
  ::execv(file->c_str(), argv);
  return fromErrno(errno, "execute " + *file);
}

Result<int> runLives(const frame::ConfigInput& input, char** argv) {
  Handover handover = Handover::take();
  for (;;) {
    auto loaded = TRY(frame::load(daemonParts(), input));
    Daemon daemon(daemonParts(), input, std::move(loaded), std::move(handover));
    if (TRY(daemon.run()) == Daemon::Exit::kStop) return 0;
    handover = daemon.release();
    complain(executeAgain(handover, argv));  // and go on in this process, with the same sockets
    handover.withdraw();
  }
}

int check(const frame::ConfigInput& input) {
  const auto loaded = frame::load(daemonParts(), input);
  if (!loaded) return complain(loaded.error());
  (void)std::puts("the configuration is right");
  return 0;
}

void removeSocket(const std::string& path, const frame::Removed& removed) {
  if (::unlink(path.c_str()) == 0) removed("file " + path);
  (void)::unlink((path + ".lock").c_str());
}

/// Roles in reverse: runtimes must not add pods to what goes next.
Result<void> cleanUp(const frame::ConfigInput& input) {
  const auto loaded = TRY(frame::load(daemonParts(), input));
  const auto lock = TRY(frame::lockSocketPath(loaded.settings.controlSocket)
                            .context("nothing is removed while culvertd runs"));
  int count = 0;
  const frame::Removed removed = [&](const std::string& what) {
    ++count;
    (void)std::printf("removed %s\n", what.c_str());
  };
  FirstError outcome;
  const auto& roles = daemonParts().roles;
  std::for_each(roles.rbegin(), roles.rend(), [&](const frame::RoleType& role) {
    if (role.cleanup)
      outcome.note(role.cleanup(loaded.config, loaded.settings, removed).context(role.name));
  });
  removeSocket(loaded.settings.controlSocket, removed);
  if (count == 0) (void)std::puts("nothing of Culvert's is here");
  return std::move(outcome).take();
}

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  frame::blockSignals();
  (void)frame::ownExecutable();
  const auto schema = frame::schemaOf(daemonParts());
  const auto line = frame::parseCommandLine({argv + 1, argv + argc}, environ, schema);
  if (!line) return complain(line.error());
  if (line->help) return std::fputs(frame::helpText(schema).c_str(), stdout) < 0;
  if (line->version) return std::printf("culvertd %s\n", frame::version()) < 0;
  if (line->check) return check(line->input);
  if (line->cleanup) {
    const auto cleaned = cleanUp(line->input);
    return cleaned ? 0 : complain(cleaned.error());
  }
  const auto code = runLives(line->input, argv);
  return code ? *code : complain(code.error());
}

}  // namespace
}  // namespace culvert

int main(int argc, char** argv) {
  return culvert::main(argc, argv);
}
