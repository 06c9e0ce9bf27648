// Health, metrics, HTTP's pure parts, notify, handover, control, and what requests answer.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemons/frame/builtin.h"
#include "daemons/frame/control.h"
#include "daemons/frame/handover.h"
#include "daemons/frame/health.h"
#include "daemons/frame/http_server.h"
#include "daemons/frame/metrics.h"
#include "daemons/frame/notify.h"
#include "daemons/frame/rfc3339.h"

namespace culvert::frame {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

TEST(Health, SaysOkInOneWord) {
  Health health;
  health.add(Health::Kind::kReady, "routing", [] { return Result<void>(); });
  EXPECT_EQ(health.report("readyz", false).text, "ok");
  EXPECT_EQ(health.report("readyz", true).text, "[+]ping ok\n[+]routing ok\nreadyz check passed\n");
}

TEST(Health, NamesWhatFailedAndOnlyWhereItCounts) {
  Health health;
  health.add(Health::Kind::kLive, "loop", [] { return Result<void>(); });
  health.add(Health::Kind::kReady, "routing",
             []() -> Result<void> { return makeError(Errc::kNotAvailable, "no peers yet"); });
  const auto ready = health.report("readyz", false);
  EXPECT_FALSE(ready.passed);
  EXPECT_EQ(ready.text, "[+]ping ok\n[-]routing failed: no peers yet\nreadyz check failed\n");
  EXPECT_TRUE(health.report("livez", false).passed);
  EXPECT_THAT(health.report("healthz", false).text, AllOf(HasSubstr("loop"), HasSubstr("routing")));
  health.remove("routing");
  EXPECT_TRUE(health.report("readyz", false).passed);
}

TEST(Metrics, ExposesItsOwnAndTheProcess) {
  Metrics metrics("1.2.3");
  metrics.counter("culvert_things_total", "Things.", {{"kind", "a"}}).Increment();
  metrics.counter("culvert_things_total", "Things.", {{"kind", "a"}}).Increment();
  metrics.histogram("culvert_seconds", "Time.", {0.1, 1}).Observe(0.5);
  auto& scraped = metrics.gauge("culvert_scraped", "At a scrape.");
  metrics.onScrape([&] { scraped.Set(7); });
  const std::string text = metrics.text();
  EXPECT_THAT(text,
              HasSubstr("culvert_build_info{compiler=\"" __VERSION__ "\",version=\"1.2.3\"} 1"));
  EXPECT_THAT(text, HasSubstr("culvert_things_total{kind=\"a\"} 2"));
  EXPECT_THAT(text, HasSubstr("culvert_seconds_bucket{le=\"1\"} 1"));
  EXPECT_THAT(text, HasSubstr("culvert_scraped 7"));
  EXPECT_THAT(text, HasSubstr("# TYPE process_cpu_seconds_total counter"));
  EXPECT_THAT(text, AllOf(HasSubstr("process_resident_memory_bytes "),
                          Not(HasSubstr("process_resident_memory_bytes 0"))));
}

TEST(Metrics, CountsOpenDescriptors) {
  const auto openIn = [](const std::string& text) {
    const std::size_t at = text.find("\nprocess_open_fds ");
    return std::strtol(text.c_str() + at + 18, nullptr, 10);
  };
  Metrics metrics("1");
  const long before = openIn(metrics.text());
  const UniqueFd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(openIn(metrics.text()), before + 1);
}

TEST(HttpTarget, IsTakenApart) {
  HttpRequest request;
  parseTarget("/a%20b/c?verbose&name=x%3Dy&empty=&%zz=1", request);
  EXPECT_EQ(request.path, "/a b/c");
  EXPECT_THAT(request.query, ElementsAre(Pair("%zz", "1"), Pair("empty", ""), Pair("name", "x=y"),
                                         Pair("verbose", "")));
  EXPECT_EQ(percentDecoded("%4"), "%4");
  EXPECT_EQ(percentDecoded("%41%"), "A%");
}

TEST(Notifier, WritesDatagramsToPathAndAbstractSockets) {
  for (const bool abstract : {false, true}) {
    const std::string name = (abstract ? "@culvert-notify-" : testing::TempDir() + "/notify-") +
                             std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    if (abstract) address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    Notifier(name).status("two\nlines");
    Notifier(name).reloading();
    std::array<char, 256> buffer{};
    auto got = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    EXPECT_EQ(std::string(buffer.data(), static_cast<std::size_t>(std::max<long>(got, 0))),
              "STATUS=two lines");
    got = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    EXPECT_THAT(std::string(buffer.data(), static_cast<std::size_t>(std::max<long>(got, 0))),
                testing::MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
    if (!abstract) (void)::unlink(name.c_str());
  }
}

TEST(Notifier, IsSilentWithoutAnybodyToTell) {
  Notifier("").ready();
  Notifier("/nonexistent/socket").ready();
  Notifier("vsock:1:2").ready();
}

TEST(Handover, SurvivesAsText) {
  Handover before;
  before.generation = 4;
  before.sockets.push_back({"unix:/run/a b=c", UniqueFd(::open("/dev/null", O_RDONLY))});
  const int fd = ::fcntl(before.sockets[0].fd.get(), F_DUPFD, 10);
  const std::string text = "77\n4\n" + std::to_string(fd) + "=unix:/run/a b=c";
  EXPECT_EQ(before.text(77),
            "77\n4\n" + std::to_string(before.sockets[0].fd.get()) + "=unix:/run/a b=c");
  Handover after = Handover::parse(text, 77);
  EXPECT_EQ(after.generation, 4U);
  EXPECT_EQ(after.find("unix:/run/a b=c").get(), fd);
  EXPECT_FALSE(after.find("unix:/run/a b=c")) << "it can be had once";
}

TEST(Handover, IgnoresWhatIsForAnotherProcessOrNoDescriptor) {
  EXPECT_EQ(Handover::parse("78\n4\n0=x", 77).generation, 1U);
  EXPECT_TRUE(Handover::parse("77\n2\n2=stderr\n999999=closed\nnonsense\n=", 77).sockets.empty());
  EXPECT_TRUE(Handover::parse("", 77).sockets.empty());
}

TEST(Listen, MakesAPrivateSocketAndRefusesASecond) {
  const std::string path = testing::TempDir() + "/listen-" + std::to_string(::getpid()) + "/d.sock";
  auto first = listenUnix(path, -1);
  ASSERT_TRUE(first) << first.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0660U);
  EXPECT_EQ(listenUnix(path, -1).error().code, Errc::kAlreadyExists);
  first->fd = UniqueFd();  // its daemon is dead
  EXPECT_TRUE(listenUnix(path, -1));
  (void)::unlink(path.c_str());
  EXPECT_EQ(::rmdir(path.substr(0, path.rfind('/')).c_str()), 0) << "something is left beside it";
}

TEST(Listen, LocksAPathOnce) {
  const std::string path = testing::TempDir() + "/lock-" + std::to_string(::getpid());
  auto first = lockSocketPath(path);
  ASSERT_TRUE(first);
  EXPECT_EQ(lockSocketPath(path).error().code, Errc::kAlreadyExists);
  first = UniqueFd();
  EXPECT_TRUE(lockSocketPath(path));
  (void)::unlink((path + ".lock").c_str());
}

HttpResponse asked(const Control& control, const HttpRequest& request) {
  HttpResponse answer;
  control.dispatch(request, [&](HttpResponse response) { answer = std::move(response); });
  return answer;
}

TEST(Control, AnswersRootAndTheGroupOnly) {
  const Control control(4711);
  EXPECT_TRUE(control.allows({1, 0, {0}}));
  EXPECT_TRUE(control.allows({1, ::geteuid(), {}}));
  EXPECT_TRUE(control.allows({1, 12345, {5, 4711}}));
  EXPECT_FALSE(control.allows({1, 12345, {5}}));
  EXPECT_FALSE(Control().allows({1, 12345, {4711}}));
  EXPECT_EQ(asked(control, {"GET", "/v1/status", {}, "", Peer{1, 12345, {}}}).status, 403U);
  EXPECT_EQ(asked(control, {"GET", "/v1/status", {}, "", std::nullopt}).status, 403U);
}

TEST(Control, TurnsErrorsIntoStatusesAndJson) {
  Control control;
  control.handle("GET", "/v1/x", [](const ControlRequest& request) -> Result<json> {
    if (request.query.contains("missing")) return makeError(Errc::kNotFound, "none", "look there");
    return json{{"body", request.body}};
  });
  const Peer root{1, 0, {0}};
  EXPECT_EQ(json::parse(asked(control, {"GET", "/v1/x", {}, "[1]", root}).body)["body"], json({1}));
  const auto missing = asked(control, {"GET", "/v1/x", {{"missing", ""}}, "", root});
  EXPECT_EQ(missing.status, 404U);
  EXPECT_EQ(json::parse(missing.body)["error"],
            json::parse(R"({"code":"notFound","message":"none","details":"look there"})"));
  EXPECT_EQ(asked(control, {"GET", "/v1/x", {}, "{", root}).status, 400U);
  EXPECT_EQ(asked(control, {"PUT", "/v1/x", {}, "", root}).status, 405U);
  const auto unknown = asked(control, {"GET", "/v1/y", {}, "", root});
  EXPECT_EQ(json::parse(unknown.body)["error"]["code"], "noSuchPath");
}

TEST(Control, AnswersLaterToo) {
  Control control;
  Control::Done later;
  control.handleAsync("POST", "/v1/slow",
                      [&](const ControlRequest&, Control::Done done) { later = std::move(done); });
  bool answered = false;
  control.dispatch({"POST", "/v1/slow", {}, "", Peer{}},
                   [&](const HttpResponse& response) { answered = response.status == 200; });
  EXPECT_FALSE(answered);
  later(json(1));
  EXPECT_TRUE(answered);
}

TEST(Status, IsAsBadAsItsWorstPart) {
  const json ok = {{{"state", "ok"}}};
  const json failed = {{{"state", "ok"}}, {{"state", "failed"}}};
  const json live = {{{"state", "live"}, {"problems", json::array()}}};
  const json broken = {{{"state", "live"}, {"problems", {"a.yaml:1: bad"}}}};
  const json stale = {{{"state", "stale"}, {"problems", json::array()}}};
  const json connecting = {{{"state", "connecting"}, {"problems", json::array()}}};
  EXPECT_EQ(overallState(json::array(), json::array()), "ok");
  EXPECT_EQ(overallState(ok, live), "ok");
  EXPECT_EQ(overallState(ok, connecting), "starting");
  EXPECT_EQ(overallState(ok, broken), "degraded");
  EXPECT_EQ(overallState(ok, stale), "degraded");
  EXPECT_EQ(overallState(failed, live), "failed");
}

TEST(Status, ShowsRolesAndSources) {
  RoleStatus status{RoleStatus::State::kDegraded, "3 of 4", {{"n", 4}}, {{"broken", "mend it"}}};
  EXPECT_EQ(toJson(status), json::parse(R"({"state":"degraded","summary":"3 of 4","facts":{"n":4},
      "complaints":[{"what":"broken","remedy":"mend it"}]})"));
  sources::Status source{"dir /a", sources::Status::State::kStale, {}, "gone", {"x"}};
  EXPECT_EQ(toJson(source), json::parse(R"({"name":"dir /a","state":"stale","lastError":"gone",
      "since":"1970-01-01T00:00:00.000Z","problems":["x"]})"));
}

TEST(ShownConfig, HasNoSecrets) {
  const auto config = json::parse(R"({"source":{"password":"p","passwordFile":"/f"},
      "peers":[{"authToken":"t","name":"n"}]})");
  EXPECT_EQ(withoutSecrets(config), json::parse(R"({"source":{"password":"***","passwordFile":"/f"},
      "peers":[{"authToken":"***","name":"n"}]})"));
}

TEST(Rfc3339, HasMillisecondsAlsoBefore1970) {
  using std::chrono::milliseconds;
  using Time = std::chrono::system_clock::time_point;
  EXPECT_EQ(rfc3339(Time(milliseconds(1'700'000'000'007))), "2023-11-14T22:13:20.007Z");
  EXPECT_EQ(rfc3339(Time(milliseconds(-1))), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace culvert::frame
