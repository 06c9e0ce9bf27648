#include "daemons/frame/config.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "daemons/frame/command_line.h"
#include "daemons/frame/load.h"
#include "daemons/frame/yaml_document.h"

namespace culvert::frame {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

json rootOf(std::string_view text) {
  auto document = parseYaml(text);
  EXPECT_TRUE(document) << document.error().message;
  return document ? document->root : json();
}

std::string yamlError(std::string_view text) {
  const auto document = parseYaml(text);
  return document ? "" : document.error().message;
}

TEST(Yaml, TypesPlainScalarsAndLeavesQuotedOnesStrings) {
  EXPECT_EQ(rootOf("{a: 12, b: '12', c: true, d: \"true\", e: null, f: ~, g:, h: -7, i: 0}"),
            json::parse(R"({"a":12,"b":"12","c":true,"d":"true","e":null,"f":null,"g":null,
                            "h":-7,"i":0})"));
}

TEST(Yaml, LeavesWhatOnlyLooksLikeANumberAString) {
  EXPECT_EQ(rootOf("[010, 1.5, 0x10, +3, '', 99999999999999999999, 18446744073709551615, yes]"),
            json::parse(R"(["010","1.5","0x10","+3","","99999999999999999999",
                            18446744073709551615,"yes"])"));
}

TEST(Yaml, KnowsTheLineOfEverything) {
  const auto document = parseYaml("a: 1\nb:\n  c:\n    - x\n    - y: 2\n");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->lines.at("a"), 1U);
  EXPECT_EQ(document->lines.at("b.c"), 3U);
  EXPECT_EQ(document->lines.at("b.c[1]"), 5U);
  EXPECT_EQ(document->lines.at("b.c[1].y"), 5U);
}

TEST(Yaml, ReportsAKeyThatStandsThereTwiceAndKeepsTheFirst) {
  const auto document = parseYaml("a: 1\nb: {c: 1, c: {d: [2]}}\na: [3]\n");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->root, json::parse(R"({"a":1,"b":{"c":1}})"));
  EXPECT_THAT(document->duplicates, ElementsAre(testing::Pair("b.c", 2U), testing::Pair("a", 3U)));
}

TEST(Yaml, AnEmptyTextIsAnEmptyObject) {
  EXPECT_EQ(rootOf(""), json::object());
  EXPECT_EQ(rootOf("# nothing\n"), json::object());
  EXPECT_EQ(rootOf("---\n"), json::object());
}

TEST(Yaml, RefusesWhatIsNotYamlWithTheLine) {
  EXPECT_THAT(yamlError("a: 1\nb: [1, 2\nc: 3\n"), HasSubstr("not usable YAML"));
  EXPECT_THAT(yamlError("a: 1\n\tb: 2\n"), StartsWith("2: "));
  EXPECT_THAT(yamlError("a: 1\n---\nb: 2\n"), HasSubstr("second document"));
  EXPECT_THAT(yamlError("{[a]: 1}"), HasSubstr("key that is no scalar"));
  EXPECT_THAT(yamlError("a: !!binary x"), HasSubstr("tags"));
}

TEST(Yaml, RefusesDeepNestingAliasesAndLength) {
  EXPECT_THAT(yamlError(std::string(100'000, '[')), testing::Not(""));
  EXPECT_THAT(yamlError(std::string(10'000, '{')), testing::Not(""));
  EXPECT_THAT(yamlError("a: &x [1]\nb: [*x, *x]\n"), StartsWith("2: not usable YAML: aliases"));
  std::string indented(kMaxYamlBytes + 1, 'x');
  EXPECT_THAT(yamlError(indented), HasSubstr("longer than"));
  indented.clear();
  for (std::size_t i = 0; i < 200; ++i)
    indented += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(yamlError(indented), HasSubstr("nested too deeply"));
}

TEST(SchemaNames, FollowFromThePath) {
  EXPECT_EQ(flagName("log.level"), "log-level");
  EXPECT_EQ(flagName("stateDir"), "state-dir");
  EXPECT_EQ(variableName("control.socket"), "CULVERT_CONTROL_SOCKET");
  EXPECT_EQ(variableName("nodeName"), "CULVERT_NODE_NAME");
}

TEST(SchemaNames, SuggestOnlyWhatIsClose) {
  EXPECT_EQ(nearest("levl", {"level", "format"}), "level");
  EXPECT_EQ(nearest("LEVEL", {"level", "format"}), "level");
  EXPECT_EQ(nearest("zzzzzz", {"level", "format"}), "");
  EXPECT_EQ(nearest("", {}), "");
}

/// A daemon with one role, whose section has a list of objects and a map with free keys.
Parts partsWithRouting() {
  Parts parts;
  RoleType routing;
  routing.name = "routing";
  routing.keys = {{"routing.mtu", KeyType::kInteger, "the link's", "MTU"},
                  {"routing.fast", KeyType::kBoolean, "false", "speed"},
                  {"routing.labels", KeyType::kAny, "", "any"},
                  {"routing.peers[].address", KeyType::kString, "", "a peer"}};
  routing.check = [](const Config& config, const Settings&, cni::Problems& problems) {
    const auto section = config.section("routing", problems);
    (void)section.integer("mtu", 1280, 65535);
    (void)section.boolean("fast");
    for (const auto& peer : section.objects("peers"))
      (void)peer.address("address");
  };
  parts.roles.push_back(std::move(routing));
  return parts;
}

class ConfigFile : public testing::Test {
 protected:
  void TearDown() override { (void)::unlink(path_.c_str()); }

  Result<Loaded> loadWith(const std::string& text, const std::vector<std::string>& flags = {},
                          std::vector<const char*> environment = {}) {
    std::ofstream(path_) << text;
    environment.push_back(nullptr);
    std::vector<std::string> arguments = {"--config", path_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const auto line = parseCommandLine(arguments, environment.data(), schemaOf(parts_));
    if (!line) return line.error();
    return load(parts_, line->input);
  }
  std::string errorOf(const std::string& text, const std::vector<std::string>& flags = {},
                      const std::vector<const char*>& environment = {}) {
    const auto loaded = loadWith(text, flags, environment);
    return loaded ? "" : loaded.error().message;
  }

  Parts parts_ = partsWithRouting();
  std::string path_ =
      testing::TempDir() + "/culvert-config-" + std::to_string(::getpid()) + ".yaml";
  std::string name_ = path_.substr(path_.rfind('/') + 1);
};

TEST_F(ConfigFile, GivesDefaults) {
  const auto loaded = loadWith("roles: [routing]", {}, {"NODE_NAME=Node-7"});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->settings.nodeName, "node-7");
  EXPECT_EQ(loaded->settings.metrics->text(), "127.0.0.1:9810");
  EXPECT_EQ(loaded->settings.health->text(), "127.0.0.1:9811");
  EXPECT_EQ(loaded->settings.controlSocket, "/run/culvert/culvertd.sock");
  EXPECT_EQ(loaded->settings.stateDir, "/var/lib/culvert");
  EXPECT_EQ(loaded->settings.logLevel, Level::kInfo);
}

TEST_F(ConfigFile, AFlagCountsMoreThanAVariableAndThatMoreThanTheFile) {
  const std::string file = "{roles: [routing], log: {level: error}, stateDir: /file}";
  const std::vector<const char*> variables = {"CULVERT_LOG_LEVEL=warning",
                                              "CULVERT_STATE_DIR=/variable", "PATH=/bin"};
  EXPECT_EQ(loadWith(file)->settings.logLevel, Level::kError);
  EXPECT_EQ(loadWith(file, {}, variables)->settings.logLevel, Level::kWarning);
  const auto all = loadWith(file, {"--log-level", "debug"}, variables);
  EXPECT_EQ(all->settings.logLevel, Level::kDebug);
  EXPECT_EQ(all->settings.stateDir, "/variable");
}

TEST_F(ConfigFile, SetsAnyKey) {
  const auto loaded = loadWith(
      "roles: []", {"--set", "routing.mtu=1400", "--set", "routing.peers=[{address: 198.18.0.1}]",
                    "--set", "roles=routing", "--routing-fast=true"});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->config.root()["routing"],
            json::parse(R"({"mtu":1400,"fast":true,"peers":[{"address":"198.18.0.1"}]})"));
  EXPECT_THAT(loaded->settings.roles, ElementsAre("routing"));
}

TEST_F(ConfigFile, ReportsEveryProblemAtOnceWithItsLine) {
  const std::string at = name_ + ":";
  EXPECT_EQ(errorOf("roles: [routing]\n"
                    "rotes: 1\n"
                    "routing:\n"
                    "  mtu: 9\n"
                    "  peers:\n"
                    "    - {adress: 1}\n"
                    "    - address: nowhere\n"
                    "  labels: {any: {thing: goes}}\n"
                    "metrics: off\n"),
            at + "2: rotes: unknown key, did you mean \"roles\"?\n" + at +
                "4: routing.mtu: 9 is not an integer within 1280..65535\n" + at +
                "6: routing.peers[0].adress: unknown key, did you mean \"address\"?\n" + at +
                "7: routing.peers[1].address: \"nowhere\" is not an IP address\n" + at +
                "9: metrics: \"off\" is not an object");
}

TEST_F(ConfigFile, NamesTheFlagOrVariableThatIsWrong) {
  EXPECT_THAT(errorOf("roles: []", {"--log-level", "loud"}), StartsWith("--log-level: log.level:"));
  EXPECT_THAT(errorOf("roles: []", {}, {"CULVERT_LOG_FORMAT=xml"}),
              StartsWith("CULVERT_LOG_FORMAT: log.format:"));
  EXPECT_EQ(errorOf("roles: []", {"--set", "controll.socket=/x"}),
            "--set: controll: unknown key, did you mean \"control\"?");
  EXPECT_THAT(errorOf("roles: []", {"--set", "nonsense"}), HasSubstr("PATH=VALUE"));
  EXPECT_THAT(errorOf("roles: []", {"--sett", "a=b"}), HasSubstr("unrecognised option"));
  EXPECT_THAT(errorOf("roles: []", {"stray"}), StartsWith("command line: "));
  EXPECT_THAT(errorOf("roles: []", {"--set", "routing.peers[0].address=x"}),
              HasSubstr("set the list"));
}

TEST_F(ConfigFile, SeparatesProblemsWhoseValuesLookLikeProblems) {
  const auto loaded = loadWith("roles: []\nlog: {level: 'a; log.format: b', format: 'c; d: e'}\n");
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr(name_ + ":2: log.level: \"a"));
  EXPECT_THAT(loaded.error().message, HasSubstr(name_ + ":2: log.format: \"c; d: e\" is neither"));
}

TEST_F(ConfigFile, ShowsAHostileKeyWithoutItsBytes) {
  const std::string error = errorOf("roles: []\n\"x\\n\\e[31m: y\": 1\n");
  EXPECT_EQ(error, name_ + ":2: \"x\\n\\u001b[31m:_y\": unknown key");
}

TEST_F(ConfigFile, RefusesWrongNamesRolesAndAddresses) {
  EXPECT_THAT(errorOf("nodeName: a"), HasSubstr("write for example \"roles: [routing]\""));
  EXPECT_THAT(errorOf("roles: [services, routing, routing]"),
              testing::AllOf(HasSubstr("roles[0]: \"services\" is no role"),
                             HasSubstr("roles[2]: \"routing\" stands there twice")));
  EXPECT_THAT(errorOf("{roles: [], nodeName: under_score}"), HasSubstr("is not a node's name"));
  EXPECT_THAT(errorOf("{roles: [], control: {socket: relative}}"), HasSubstr("absolute path"));
  EXPECT_THAT(errorOf("{roles: [], health: {address: '::1:80'}}"),
              HasSubstr("is not ADDRESS:PORT"));
  EXPECT_THAT(errorOf("[1, 2]"), HasSubstr("is not a map"));
  EXPECT_THAT(errorOf("a: [1"), StartsWith(name_ + ":1: not usable YAML"));
}

TEST_F(ConfigFile, TellsWhichKeysDiffer) {
  const auto before = loadWith("{roles: [routing], routing: {mtu: 1400, fast: true}}");
  const auto after = loadWith("{roles: [routing], routing: {mtu: 1500}, log: {level: debug}}");
  EXPECT_THAT(before->config.differences(after->config),
              ElementsAre("log.level", "routing.fast", "routing.mtu"));
  EXPECT_THAT(after->config.differences(after->config), testing::IsEmpty());
}

TEST(DefaultFile, MayBeMissingButANamedOneMayNot) {
  const Parts parts;
  ConfigInput input;
  input.file = "/nonexistent/culvertd.yaml";
  input.flags = {{"roles", "", "--roles"}};
  EXPECT_TRUE(load(parts, input));
  input.fileNamed = true;
  EXPECT_FALSE(load(parts, input));
}

TEST(ListenAddressText, IsReadBothWays) {
  for (const char* text : {"127.0.0.1:9810", "[::1]:80", "0.0.0.0:0", "[::]:65535"})
    EXPECT_EQ(ListenAddress::parse(text)->text(), text);
  for (const char* text : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "[127.0.0.1]:1",
                           "::1:80", "host:80", "127.0.0.1:80x"})
    EXPECT_FALSE(ListenAddress::parse(text)) << text;
}

TEST(Help, HasEveryKey) {
  const Parts parts = partsWithRouting();
  const std::string text = helpText(schemaOf(parts));
  EXPECT_THAT(text, HasSubstr("routing.mtu"));
  EXPECT_THAT(text, HasSubstr("default: 127.0.0.1:9810"));
}

}  // namespace
}  // namespace culvert::frame
