#include "daemons/frame/daemon.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <thread>

#include "base/file.h"

namespace culvert::frame {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// One request on the control socket, on a thread of its own: the daemon runs on the test's.
std::string ask(const std::string& path, const std::string& target, const char* method = "GET") {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return "refused";
  if (!writeAll(fd.get(), std::string(method) + " " + target +
                              " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    return "closed";
  return readAll(fd.get(), 1 << 20).value_or("cut");
}

class TestRole : public Role {
 public:
  TestRole(const RoleContext& context, std::vector<std::string>& events, bool fails)
      : context_(context), events_(&events), fails_(fails) {
    context_.control.handle("GET", "/v1/test", [](const ControlRequest&) -> Result<nlohmann::json> {
      return nlohmann::json("from the role");
    });
  }
  Result<void> start() override {
    events_->push_back("start on " + context_.settings.nodeName);
    if (fails_) return makeError(Errc::kIo, "no such link");
    return {};
  }
  void stop(std::function<void()> stopped) override {
    events_->push_back("stop");
    boost::asio::post(context_.loop, std::move(stopped));
  }
  RoleStatus status() const override {
    return {RoleStatus::State::kDegraded, "half of it", {}, {{"half is missing", "add it"}}};
  }

 private:
  RoleContext context_;
  std::vector<std::string>* events_;
  bool fails_;
};

class DaemonTest : public testing::Test {
 protected:
  DaemonTest() {
    RoleType type;
    type.name = "test";
    type.create = [this](const RoleContext& context) -> Result<std::unique_ptr<Role>> {
      return std::unique_ptr<Role>(new TestRole(context, events_, fails_));
    };
    parts_.roles.push_back(std::move(type));
    input_.flags = {{"roles", "test", "--roles"},          {"nodeName", "n1", "--node-name"},
                    {"metrics.address", "", "flag"},       {"health.address", "", "flag"},
                    {"control.socket", socket_, "a flag"}, {"log.level", "error", "flag"}};
    blockSignals();
  }

  void TearDown() override { (void)::unlink((socket_ + ".lock").c_str()); }

  Result<Daemon::Exit> run(Handover handover = {}) {
    daemon_ = std::make_unique<Daemon>(parts_, input_, *load(parts_, input_), std::move(handover));
    return daemon_->run();
  }

  std::string socket_ = testing::TempDir() + "/daemon-" + std::to_string(::getpid()) + ".sock";
  std::vector<std::string> events_;
  bool fails_ = false;
  Parts parts_;
  ConfigInput input_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(DaemonTest, RunsItsRoleAnswersAndStops) {
  std::string status;
  std::string fromRole;
  std::thread client([&] {
    while ((status = ask(socket_, "/v1/status")) == "refused")
      std::this_thread::yield();
    fromRole = ask(socket_, "/v1/test");
    (void)::kill(::getpid(), SIGTERM);
  });
  const auto exit = run();
  client.join();
  ASSERT_TRUE(exit) << exit.error().message;
  EXPECT_EQ(*exit, Daemon::Exit::kStop);
  EXPECT_THAT(events_, ElementsAre("start on n1", "stop"));
  EXPECT_THAT(status, HasSubstr("\"state\":\"degraded\""));
  EXPECT_THAT(status, HasSubstr("half is missing"));
  EXPECT_THAT(fromRole, HasSubstr("from the role"));
  EXPECT_EQ(ask(socket_, "/v1/status"), "refused");
}

TEST_F(DaemonTest, HandsItsSocketToTheNextLife) {
  std::thread client([&] {
    while (ask(socket_, "/v1/restart", "POST") == "refused")
      std::this_thread::yield();
  });
  const auto exit = run();
  client.join();
  ASSERT_TRUE(exit) << exit.error().message;
  EXPECT_EQ(*exit, Daemon::Exit::kRestart);
  Handover handover = daemon_->release();
  daemon_.reset();
  EXPECT_EQ(handover.generation, 2U);

  std::string between;  // asked while nobody runs, answered by the next life
  std::thread patient([&] {
    between = ask(socket_, "/v1/version");
    (void)::kill(::getpid(), SIGTERM);
  });
  EXPECT_TRUE(run(std::move(handover)));
  patient.join();
  EXPECT_THAT(between, HasSubstr("\"generation\":2"));
}

TEST_F(DaemonTest, DoesNotStartWithARoleThatCannot) {
  fails_ = true;
  const auto exit = run();
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().message, "role test: no such link");
}

}  // namespace
}  // namespace culvert::frame
