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
  EXPECT_EQ(findCommand({"services", "web"})->words, "services");
  EXPECT_EQ(findCommand({"services", "trace", "a", "b"})->words, "services trace");
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

TEST(Destination, IsTakenApart) {
  const auto parts = [](const char* text) {
    const auto to = parseDestination(text);
    return to ? to->address + " " + to->port + " " + to->protocol : to.error().details;
  };
  EXPECT_EQ(parts("10.96.0.1:80"), "10.96.0.1 80 TCP");
  EXPECT_EQ(parts("10.96.0.1:53/udp"), "10.96.0.1 53 UDP");
  EXPECT_EQ(parts("[fd96::1]:80/SCTP"), "fd96::1 80 SCTP");
  for (const char* bad : {"", "10.96.0.1", ":80", "10.96.0.1:", "fd96::1:80", "[10.96.0.1]:80",
                          "[]:80", "10.96.0.1:http", "10.96.0.1:80 HTTP/1.1"})
    EXPECT_THAT(parts(bad), HasSubstr("say ADDRESS:PORT")) << bad;
}

TEST(ServicesText, HasARowForEachFrontendAndWhatIsWrong) {
  const json list = json::parse(R"({"services": [
      {"service": "ns/web", "frontend": "10.96.0.1:80/TCP", "kind": "ClusterIP", "policy": "Cluster",
       "affinitySeconds": 10800, "used": 2, "known": 3, "problem": ""},
      {"service": "ns/web", "frontend": "*:30080/TCP", "kind": "NodePort", "policy": "Local",
       "affinitySeconds": 90, "used": 0, "known": 3, "problem": "no usable endpoint: refused"}],
      "problems": [{"service": "ns/x", "what": "spec.ports: 5 is no list"}]})");
  EXPECT_EQ(servicesText(list, false),
            "SERVICE  FRONTEND          KIND       POLICY   AFFINITY        ENDPOINTS  PROBLEM\n"
            "ns/web   10.96.0.1:80/TCP  ClusterIP  Cluster  ClientIP, 3 h   2 of 3\n"
            "ns/web   *:30080/TCP       NodePort   Local    ClientIP, 90 s  0 of 3     no usable "
            "endpoint: refused\n"
            "\n"
            "SERVICE  WHAT IS WRONG\n"
            "ns/x     spec.ports: 5 is no list\n");
  EXPECT_EQ(servicesText({{"services", json::array()}}, false), "no Services\n");
}

TEST(ServiceDetails, ShowFrontendsConflictsAndEndpoints) {
  const json described =
      json::parse(R"({"services": [{"service": "ns/web", "problems": ["p"], "ports": [
      {"name": "http", "protocol": "TCP", "family": "IPv4", "affinitySeconds": 0,
       "sourceRanges": ["192.0.2.0/24"],
       "frontends": [{"frontend": "10.96.0.1:80/TCP", "kind": "ClusterIP", "policy": "Cluster",
                      "problem": "", "claimedBy": ["ns/web", "ns/a"],
                      "from": {"pod": "1 endpoint", "host": "1 endpoint, masqueraded", "outside": "dropped"}}],
       "endpoints": [{"endpoint": "10.1.0.1:8080", "node": "n1", "slice": "s", "used": "no", "why": "not ready"}]},
      {"name": "", "protocol": "UDP", "family": "IPv6", "affinitySeconds": 60, "sourceRanges": [],
       "frontends": [], "endpoints": []}]}]})");
  EXPECT_EQ(serviceDetails(described, false),
            "ns/web\n"
            "problem: p\n"
            "\n"
            "port http, TCP, IPv4\n"
            "load balancer addresses only for: 192.0.2.0/24\n"
            "10.96.0.1:80/TCP is claimed by ns/web, ns/a; the first has it\n"
            "\n"
            "FRONTEND          KIND       POLICY   FROM PODS   FROM THIS HOST           FROM "
            "OUTSIDE  PROBLEM\n"
            "10.96.0.1:80/TCP  ClusterIP  Cluster  1 endpoint  1 endpoint, masqueraded  dropped\n"
            "\n"
            "ENDPOINT       NODE  SLICE  USED  WHY\n"
            "10.1.0.1:8080  n1    s      no    not ready\n"
            "\n"
            "UDP, IPv6\n"
            "session affinity: ClientIP, 1 min\n"
            "\n"
            "FRONTEND  KIND  POLICY  FROM PODS  FROM THIS HOST  FROM OUTSIDE  PROBLEM\n"
            "\n"
            "no endpoints\n");
}

TEST(TraceText, IsSentencesAndChances) {
  const json trace = json::parse(R"({"packet": "10.1.0.9 to 10.96.0.1:80/TCP", "verdict": "forward",
      "steps": ["a", "b"], "endpoints": [
        {"endpoint": "10.1.0.1:8080", "probability": 0.33333, "local": true, "masquerade": false},
        {"endpoint": "10.2.0.1:8080", "probability": 1, "local": false, "masquerade": true}]})");
  EXPECT_EQ(traceText(trace, false),
            "10.1.0.9 to 10.96.0.1:80/TCP\n"
            "- a\n"
            "- b\n"
            "= forward\n"
            "\n"
            "ENDPOINT       PROBABILITY  ON            SEES\n"
            "10.1.0.1:8080  33.3 %       this node     the source\n"
            "10.2.0.1:8080  100 %        another node  this node\n");
}

TEST(TraceText, BecomesAnExitCode) {
  EXPECT_EQ(traceCode({{"verdict", "forward"}}), 0);
  EXPECT_EQ(traceCode({{"verdict", "reject"}}), 3);
  EXPECT_EQ(traceCode({{"verdict", "drop"}}), 4);
  EXPECT_EQ(traceCode({{"verdict", "not a service"}}), 5);
  EXPECT_EQ(traceCode({{"verdict", "?"}}), 2);
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
