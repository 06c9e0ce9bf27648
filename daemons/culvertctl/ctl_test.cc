#include <gmock/gmock.h>

#include "daemons/culvertctl/client.h"
#include "daemons/culvertctl/command.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Table, AlignsItsColumns) {
  Table table({"name", "state"});
  table.add({"a-long-name", "ok"});
  table.add({"ü", "failed"});
  EXPECT_EQ(table.text(false),
            "NAME         STATE\n"
            "a-long-name  ok\n"
            "ü            failed\n");
}

TEST(Table, ColoursOnlyWhenAskedAndNeverForwardsEscapes) {
  Table table({"x", "y"});
  table.add({"ok", "\x1b[2J"});
  EXPECT_EQ(table.text(false), "X   Y\nok  ?[2J\n");
  EXPECT_THAT(table.text(true), AllOf(HasSubstr("\x1b[32mok\x1b[0m  ?[2J")));
}

TEST(Table, TakesItsColumnsFromObjects) {
  const auto list = nlohmann::ordered_json::parse(R"([{"b":1,"a":"x"},{"b":[1,"y"],"c":true}])");
  EXPECT_EQ(tableOf(list).text(false),
            "B     A  C\n"
            "1     x\n"
            "1, y     true\n");
}

TEST(Yaml, QuotesWhatWouldBeReadAsSomethingElse) {
  const auto value = json::parse(
      R"({"a":{"b":[1,{"c":"yes","d":"12"},[]],"e":{}},"f":"plain","g":null,"h":"a: b","i":""})");
  EXPECT_EQ(yaml(value),
            "a:\n"
            "  b:\n"
            "    - 1\n"
            "    - c: \"yes\"\n"
            "      d: \"12\"\n"
            "    - []\n"
            "  e: {}\n"
            "f: plain\n"
            "g: null\n"
            "h: \"a: b\"\n"
            "i: \"\"\n");
}

TEST(Commands, AreFoundByTheirWords) {
  EXPECT_EQ(findCommand({"config", "check", "f"})->words, "config check");
  EXPECT_EQ(findCommand({"status"})->words, "status");
  EXPECT_EQ(findCommand({"config"}), nullptr);
  EXPECT_EQ(findCommand({"nothing"}), nullptr);
  EXPECT_EQ(findCommand({}), nullptr);
}

TEST(Commands, StandInTheUsageAndEveryCompletion) {
  for (const Command& command : commands()) {
    EXPECT_THAT(usage(), HasSubstr(command.words));
    const std::string first = command.words.substr(0, command.words.find(' '));
    for (const char* shell : {"bash", "zsh", "fish"})
      EXPECT_THAT(*completion(shell), HasSubstr(first)) << shell;
  }
  EXPECT_FALSE(completion("tcsh"));
}

json exampleStatus() {
  return json::parse(R"({
    "node": "n1", "version": "1", "pid": 7, "uptimeSeconds": 7300, "state": "degraded",
    "roles": [{"name": "routing", "state": "degraded", "summary": "3 of 4 peers",
               "facts": {"blocks": ["10.0.0.0/24", "fd00::/64"],
                         "peers": [{"name": "n2", "path": "vxlan-l3"}]},
               "complaints": [{"what": "n4 has no address", "remedy": "add one"}]}],
    "sources": [{"name": "dir /m", "state": "stale", "since": "s", "lastError": "gone",
                 "problems": ["nodes.yaml:3: not YAML"]}],
    "restartNeeded": ["routing.mtu"]})");
}

TEST(StatusText, ShowsRolesSourcesPeersAndWhatToDo) {
  EXPECT_EQ(statusText(exampleStatus(), false),
            "node n1: degraded (culvertd 1, pid 7, up 2 h)\n"
            "\n"
            "ROLE     STATE     SUMMARY\n"
            "routing  degraded  3 of 4 peers\n"
            "\n"
            "SOURCE  STATE  SINCE  LAST ERROR\n"
            "dir /m  stale  s      gone\n"
            "\n"
            "routing\n"
            "  blocks: 10.0.0.0/24, fd00::/64\n"
            "\n"
            "routing peers\n"
            "NAME  PATH\n"
            "n2    vxlan-l3\n"
            "\n"
            "WHAT IS WRONG                                         WHAT TO DO\n"
            "routing: n4 has no address                            add one\n"
            "nodes.yaml:3: not YAML                                mend it at the source\n"
            "dir /m cannot be reached; the last known state holds  see the last error above\n"
            "changed but not in effect: routing.mtu                culvertctl restart\n");
}

TEST(StatusText, BecomesAnExitCode) {
  EXPECT_EQ(statusCode({{"state", "ok"}}), 0);
  EXPECT_EQ(statusCode({{"state", "starting"}}), 1);
  EXPECT_EQ(statusCode({{"state", "degraded"}}), 1);
  EXPECT_EQ(statusCode({{"state", "failed"}}), 2);
}

TEST(Response, IsTakenApart) {
  EXPECT_EQ(*parseResponse("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"x\":1}\n"), json({{"x", 1}}));
  const auto refused = parseResponse(
      "HTTP/1.1 409 "
      "Conflict\r\n\r\n{\"error\":{\"code\":\"conflict\",\"message\":\"m\",\"details\":\"d\"}}");
  EXPECT_EQ(refused.error().message, "m");
  EXPECT_EQ(refused.error().details, "d");
  EXPECT_THAT(
      parseResponse("HTTP/1.1 404 N\r\n\r\n{\"error\":{\"code\":\"noSuchPath\"}}").error().message,
      HasSubstr("role is not switched on"));
  EXPECT_FALSE(parseResponse("HTTP/1.1 200 OK\r\n\r\n{\"x\":"));
  EXPECT_FALSE(parseResponse("SSH-2.0-x\r\n"));
  EXPECT_FALSE(parseResponse(""));
}

TEST(Request, SaysThatNoDaemonRuns) {
  const auto answer = request("/nonexistent/culvertd.sock", "GET", "/v1/status");
  EXPECT_EQ(answer.error().code, Errc::kNotAvailable);
  EXPECT_THAT(answer.error().message, HasSubstr("culvertd is not running"));
}

}  // namespace
}  // namespace culvert::ctl
