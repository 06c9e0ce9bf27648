#include "cni/dispatcher.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

namespace culvert::cni {
namespace {

using nlohmann::json;

int addCalls = 0;

Result<AddResult> addOne(const Request&) {
  ++addCalls;
  IpConfig ip{.address = *IpPrefix::parse("10.1.2.3/24"), .gateway = {}, .interface = {}};
  return AddResult{.interfaces = {}, .ips = {ip}, .routes = {}, .dns = {}};
}
Result<AddResult> addFails(const Request&) {
  return makeError(Errc::kTryAgain, "busy", "the kernel's words");
}
Result<AddResult> addThrows(const Request&) {
  throw std::runtime_error("bug");
}
Result<void> succeed(const Request&) {
  return {};
}

Plugin pluginWith(Result<AddResult> (*add)(const Request&), Version oldest = Version::k010) {
  return {.name = "test",
          .oldest = oldest,
          .add = add,
          .del = succeed,
          .check = succeed,
          .gc = succeed,
          .status = succeed};
}

struct Outcome {
  int exitStatus = 0;
  std::string out, err;
  json object() const { return out.empty() ? json::object() : json::parse(out); }
  int code() const { return object().value("code", 0); }
  std::string message() const { return object().value("msg", ""); }
};

using Variables = std::map<std::string, std::string>;

Variables fullEnvironment(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "c1"},
          {"CNI_NETNS", "/run/netns/none"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/opt/cni/bin"}};
}

Outcome invoke(const Plugin& plugin, const Variables& variables, const std::string& config) {
  Outcome outcome;
  const Io io{.getEnv = [&](const char* name) -> const char* {
                const auto found = variables.find(name);
                return found == variables.end() ? nullptr : found->second.c_str();
              },
              .readConfig = [&]() -> Result<std::string> { return config; },
              .out =
                  [&](const std::string& text) {
                    outcome.out += text;
                    return Result<void>();
                  },
              .err = [&](const std::string& text) { outcome.err += text; }};
  outcome.exitStatus = dispatch(plugin, io);
  return outcome;
}

std::string configOf(const std::string& version) {
  return R"({"cniVersion":")" + version + R"(","name":"net"})";
}

TEST(Dispatcher, EveryVersionMeetsEveryVerb) {
  for (std::size_t i = 0; i < kVersionTexts.size(); ++i) {
    const std::string version(kVersionTexts.at(i));
    for (const std::string verb : {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"}) {
      const Outcome outcome = invoke(pluginWith(addOne), fullEnvironment(verb), configOf(version));
      const bool tooOld = (verb == "CHECK" && version < "0.4.0") ||
                          ((verb == "GC" || verb == "STATUS") && version < "1.1.0");
      EXPECT_EQ(outcome.exitStatus, tooOld ? 1 : 0) << verb << " " << version << outcome.out;
      EXPECT_EQ(outcome.code(), tooOld ? 1 : 0) << verb << " " << version;
      if (verb == "ADD") {
        EXPECT_EQ(outcome.object().value("cniVersion", ""), version);
      }
    }
  }
}

TEST(Dispatcher, ReportsAllMissingVariablesTogether) {
  const Outcome outcome = invoke(pluginWith(addOne), {{"CNI_COMMAND", "ADD"}}, configOf("1.0.0"));
  EXPECT_EQ(outcome.code(), 4);
  EXPECT_EQ(outcome.message(),
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing");
}

TEST(Dispatcher, ReportsMissingAndMalformedVariablesTogether) {
  Variables variables = fullEnvironment("ADD");
  variables.erase("CNI_PATH");
  variables["CNI_CONTAINERID"] = "../x";
  variables["CNI_IFNAME"] = "a/b";
  const Outcome outcome = invoke(pluginWith(addOne), variables, configOf("1.0.0"));
  EXPECT_EQ(outcome.code(), 4);
  for (const char* part : {"[CNI_PATH] missing", "'../x'", "'a/b'"}) {
    EXPECT_NE(outcome.message().find(part), std::string::npos) << part;
  }
}

TEST(Dispatcher, RefusesBadInterfaceNames) {
  for (const std::string name :
       {".", "..", "a/b", "a:b", "a b", "a\tb", "abcdefghijklmnop", "a\xe2\x80\x83z"}) {
    Variables variables = fullEnvironment("ADD");
    variables["CNI_IFNAME"] = name;
    EXPECT_EQ(invoke(pluginWith(addOne), variables, configOf("1.0.0")).code(), 4) << name;
  }
}

TEST(Dispatcher, DelNeedsNoNamespace) {
  Variables variables = fullEnvironment("DEL");
  variables.erase("CNI_NETNS");
  EXPECT_EQ(invoke(pluginWith(addOne), variables, configOf("1.0.0")).exitStatus, 0);
}

TEST(Dispatcher, WithoutACommandItSaysWhatItIs) {
  const Outcome outcome = invoke(pluginWith(addOne), {}, "");
  EXPECT_EQ(outcome.exitStatus, 0);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("CNI protocol versions supported: 0.1.0, 0.2.0"), std::string::npos);
}

TEST(Dispatcher, VersionReadsNoConfiguration) {
  const Outcome outcome =
      invoke(pluginWith(addOne, Version::k040), {{"CNI_COMMAND", "VERSION"}}, "not json");
  EXPECT_EQ(outcome.out,
            "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
}

TEST(Dispatcher, AnUnsupportedVersionNeverReachesThePlugin) {
  addCalls = 0;
  const Outcome outcome =
      invoke(pluginWith(addOne, Version::k030), fullEnvironment("ADD"), configOf("0.2.0"));
  EXPECT_EQ(outcome.code(), 1);
  EXPECT_NE(outcome.object().value("details", "").find("\"0.2.0\""), std::string::npos);
  EXPECT_EQ(invoke(pluginWith(addOne), fullEnvironment("ADD"), configOf("0.3.2")).code(), 1);
  EXPECT_EQ(addCalls, 0);
}

TEST(Dispatcher, AMissingVersionIsTheFirst) {
  const Outcome outcome = invoke(pluginWith(addOne), fullEnvironment("ADD"), R"({"name":"net"})");
  EXPECT_EQ(outcome.object().value("cniVersion", ""), "0.1.0");
  EXPECT_TRUE(outcome.object().contains("ip4"));
}

TEST(Dispatcher, NamesMustBeThereAndClean) {
  EXPECT_EQ(
      invoke(pluginWith(addOne), fullEnvironment("ADD"), R"({"cniVersion":"1.0.0"})").message(),
      "name: missing network name");
  for (const char* name : {"../x", "a/b", "a b", "-x"}) {
    const std::string config = R"({"cniVersion":"1.0.0","name":")" + std::string(name) + "\"}";
    EXPECT_EQ(invoke(pluginWith(addOne), fullEnvironment("ADD"), config).code(), 7) << name;
  }
}

TEST(Dispatcher, BadJsonIsADecodingFailure) {
  for (const std::string config : {"", "{", "[]", "null", "{\"name\":", "\xff\xfe{"}) {
    EXPECT_EQ(invoke(pluginWith(addOne), fullEnvironment("ADD"), config).code(), 6) << config;
  }
  EXPECT_EQ(invoke(pluginWith(addOne), fullEnvironment("ADD"), std::string(100000, '[')).code(), 6);
}

TEST(Dispatcher, ErrorsCarryCodeMessageAndDetails) {
  const Outcome outcome = invoke(pluginWith(addFails), fullEnvironment("ADD"), configOf("0.4.0"));
  EXPECT_EQ(outcome.exitStatus, 1);
  EXPECT_EQ(outcome.object(), json({{"cniVersion", "0.4.0"},
                                    {"code", 11},
                                    {"msg", "busy"},
                                    {"details", "the kernel's words"}}));
}

TEST(Dispatcher, ABugIsReportedAsOne) {
  EXPECT_EQ(invoke(pluginWith(addThrows), fullEnvironment("ADD"), configOf("1.0.0")).code(), 999);
}

TEST(Dispatcher, RefusesItsOwnNamespaceUnlessOverridden) {
  addCalls = 0;
  Variables variables = fullEnvironment("ADD");
  variables["CNI_NETNS"] = "/proc/self/ns/net";
  EXPECT_EQ(invoke(pluginWith(addOne), variables, configOf("1.0.0")).code(), 8);
  EXPECT_EQ(addCalls, 0);
  variables["CNI_NETNS_OVERRIDE"] = "True";
  EXPECT_EQ(invoke(pluginWith(addOne), variables, configOf("1.0.0")).exitStatus, 0);
}

Result<void> gcSees(const Request& request) {
  if (!request.validAttachments) return makeError(Errc::kIo, "absent");
  return makeError(Errc::kIo, std::to_string(request.validAttachments->size()));
}

TEST(Dispatcher, GcTellsAMissingListFromAnEmptyOne) {
  Plugin plugin = pluginWith(addOne);
  plugin.gc = gcSees;
  const auto gc = [&](const std::string& rest) {
    return invoke(plugin, fullEnvironment("GC"),
                  R"({"cniVersion":"1.1.0","name":"net")" + rest + "}")
        .message();
  };
  EXPECT_EQ(gc(""), "absent");
  EXPECT_EQ(gc(R"(,"cni.dev/valid-attachments":[])"), "0");
  EXPECT_EQ(gc(R"(,"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}])"), "1");
}

TEST(Dispatcher, PrevResultMustBeInTheConfigurationsVersion) {
  const std::string config =
      R"({"cniVersion":"1.0.0","name":"net","prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.1/24"}}})";
  const Outcome outcome = invoke(pluginWith(addOne), fullEnvironment("CHECK"), config);
  EXPECT_EQ(outcome.code(), 7);
  EXPECT_NE(outcome.message().find("prevResult.cniVersion"), std::string::npos);
  EXPECT_EQ(invoke(pluginWith(addOne), fullEnvironment("DEL"), config).exitStatus, 0);
}

}  // namespace
}  // namespace culvert::cni
