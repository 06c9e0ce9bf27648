#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "daemons/objects/bgp_configuration.h"
#include "daemons/objects/bgp_filter.h"
#include "daemons/objects/bgp_peer.h"
#include "daemons/objects/ip_pool.h"
#include "daemons/objects/kind.h"

/// The schemas in deploy/crds say what the parsers do: every field of a schema is read by the
/// parser, with the same type, the same range and the same choices.
namespace culvert::objects {
namespace {

using nlohmann::json;
using Parse = std::function<std::string(const json&)>;  // the problems of an object
using Wrap = std::function<json(json)>;                 // the spec with a value in its place

YAML::Node crd(const Kind& kind) {
  return YAML::LoadFile(std::string(CULVERT_SOURCE_DIR) + "/deploy/crds/" +
                        std::string(kind.plural) + ".yaml");
}

template <class T>
Parse parser() {
  return [](const json& spec) {
    const auto parsed = T::parse({{"metadata", {{"name", "x"}}}, {"spec", spec}});
    return parsed ? "" : parsed.error().message;
  };
}

/// yaml-cpp does not resolve merge keys (YAML's "<<"). Assigning to a Node would change the
/// document: emplace only.
std::map<std::string, YAML::Node> properties(const YAML::Node& schema) {
  std::map<std::string, YAML::Node> map;
  const YAML::Node own = schema["properties"];
  if (!own) return map;
  for (const auto& each : own) {
    if (each.first.as<std::string>() != "<<")
      map.emplace(each.first.as<std::string>(), each.second);
  }
  if (!own["<<"]) return map;
  for (const auto& each : own["<<"])
    map.emplace(each.first.as<std::string>(), each.second);
  return map;
}

class Walker {
 public:
  explicit Walker(Parse parse) : parse_(std::move(parse)) {}

  void visit(const YAML::Node& schema, const std::string& path, const Wrap& wrap) {
    const std::string type = schema["type"].as<std::string>("number");
    if (!path.empty()) checkType(type, path, wrap);
    if (schema["minimum"]) checkRange(schema, path, wrap);
    if (schema["enum"]) checkChoices(schema, path, wrap);
    for (const auto& [name, property] : properties(schema))
      visitProperty(name, property, path, wrap);
    if (type == "array") visitItems(schema["items"], path, wrap);
    ++fields_;
  }
  int fields() const { return fields_; }

 private:
  void visitProperty(const std::string& name, const YAML::Node& property, const std::string& path,
                     const Wrap& wrap) {
    visit(property, (path.empty() ? "spec" : path) + "." + name, [&](json value) {
      return wrap({{name, std::move(value)}});
    });
  }

  void visitItems(const YAML::Node& items, const std::string& path, const Wrap& wrap) {
    const bool objects = items["type"].as<std::string>() == "object";
    // The problem with a simple item may be reported as one with its list.
    visit(items, objects ? path + "[0]" : path,
          [&](json value) { return wrap(json::array({std::move(value)})); });
  }

  bool complains(const std::string& path, const json& spec) const {
    const std::string problems = parse_(spec);
    for (const char* end : {":", "[", "|"}) {
      if (problems.find(path + end) != std::string::npos) return true;
    }
    return false;
  }

  void checkType(const std::string& type, const std::string& path, const Wrap& wrap) const {
    const json wrong = type == "object" || type == "array" ? json("x")
                       : type == "string"                  ? json::object()
                                                           : json::array();
    EXPECT_TRUE(complains(path, wrap(wrong))) << path << " is not read as " << type;
  }

  void checkRange(const YAML::Node& schema, const std::string& path, const Wrap& wrap) const {
    const auto min = schema["minimum"].as<std::int64_t>();
    const auto max = schema["maximum"].as<std::int64_t>();
    EXPECT_FALSE(complains(path, wrap(min))) << path << ' ' << min;
    EXPECT_FALSE(complains(path, wrap(max))) << path << ' ' << max;
    EXPECT_TRUE(complains(path, wrap(min - 1))) << path << ' ' << min - 1;
    EXPECT_TRUE(complains(path, wrap(max + 1))) << path << ' ' << max + 1;
  }

  void checkChoices(const YAML::Node& schema, const std::string& path, const Wrap& wrap) const {
    for (const auto& each : schema["enum"]) {
      const std::string problems = parse_(wrap(each.as<std::string>()));
      EXPECT_EQ(problems.find("is not one of"), std::string::npos) << path << ": " << problems;
    }
    EXPECT_TRUE(complains(path, wrap("nothing-of-the-kind"))) << path;
  }

  Parse parse_;
  int fields_ = 0;
};

YAML::Node specOf(const YAML::Node& definition) {
  return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
}

struct Case {
  Kind kind;
  Parse parse;
  int fields;  // at least
};

class Crd : public testing::TestWithParam<Case> {};

TEST_P(Crd, AgreesWithTheParser) {
  Walker walker(GetParam().parse);
  walker.visit(specOf(crd(GetParam().kind)), "", [](json value) { return value; });
  EXPECT_GE(walker.fields(), GetParam().fields);
}

TEST_P(Crd, IsOfTheKindTheDaemonWatches) {
  const YAML::Node spec = crd(GetParam().kind)["spec"];
  const Kind& kind = GetParam().kind;
  EXPECT_EQ(spec["group"].as<std::string>(), kind.group);
  EXPECT_EQ(spec["names"]["plural"].as<std::string>(), kind.plural);
  EXPECT_EQ(spec["names"]["kind"].as<std::string>(), kind.name);
  EXPECT_EQ(spec["versions"][0]["name"].as<std::string>(), kind.version);
  EXPECT_EQ(spec["scope"].as<std::string>(), kind.namespaced ? "Namespaced" : "Cluster");
}

INSTANTIATE_TEST_SUITE_P(Kinds, Crd,
                         testing::Values(Case{kBgpConfiguration, parser<BgpConfiguration>(), 40},
                                         Case{kBgpPeer, parser<BgpPeer>(), 35},
                                         Case{kBgpFilter, parser<BgpFilter>(), 80},
                                         Case{kIpPool, parser<IpPool>(), 11},
                                         Case{kAddressBlock, parser<AddressBlock>(), 4}),
                         [](const auto& each) { return std::string(each.param.kind.name); });

}  // namespace
}  // namespace culvert::objects
