#include "plugins/host_device/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plugins/host_device/move.h"

namespace culvert::plugins {
namespace {

Result<HostDeviceConfig> parse(const std::string& json, cni::Command command = cni::Command::kAdd) {
  cni::Request request;
  request.command = command;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  return parseHostDeviceConfig(request);
}

TEST(HostDeviceConfig, OneSelectorIsNeeded) {
  const auto none = parse("{}");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kInvalidConfig);
  EXPECT_NE(none.error().message.find("kernelpath"), std::string::npos);
  for (const char* json :
       {R"({"device":"ens3"})", R"({"hwaddr":"02:00:00:00:00:01"})",
        R"({"kernelpath":"/sys/devices/pci0000:00/0000:00:1f.6"})",
        R"({"pciBusID":"0000:04:00.5"})", R"({"runtimeConfig":{"deviceID":"mlx5_core.sf.4"}})"}) {
    EXPECT_TRUE(parse(json)) << json;
  }
}

TEST(HostDeviceConfig, StatusAndGcNeedNoneIfTheRuntimeSelects) {
  const char* json = R"({"capabilities":{"deviceID":true}})";
  EXPECT_TRUE(parse(json, cni::Command::kStatus));
  EXPECT_TRUE(parse(json, cni::Command::kGc));
  EXPECT_FALSE(parse(json, cni::Command::kAdd));
  EXPECT_FALSE(parse("{}", cni::Command::kStatus));
}

TEST(HostDeviceConfig, TheRuntimesDeviceGoesBeforeTheConfiguredOne) {
  const auto pci =
      parse(R"({"pciBusID":"0000:04:00.5","runtimeConfig":{"deviceID":"0000:AF:0a.1"}})");
  EXPECT_EQ(pci->pciId, "0000:af:0a.1");
  const auto auxiliary =
      parse(R"({"pciBusID":"0000:04:00.5","runtimeConfig":{"deviceID":"mlx5_core.sf.4"}})");
  EXPECT_EQ(auxiliary->pciId, "");
  EXPECT_EQ(auxiliary->auxiliaryId, "mlx5_core.sf.4");
}

TEST(HostDeviceConfig, NothingLeadsOutOfSysfs) {
  for (const char* json : {R"({"kernelpath":"/etc"})",
                           R"({"kernelpath":"sys/devices/x"})",
                           R"({"kernelpath":"/sys/devices/../../etc"})",
                           R"({"kernelpath":"/sys/devices/.."})",
                           R"({"kernelpath":"/sys/devices/x\u0000"})",
                           R"({"pciBusID":"../../../etc"})",
                           R"({"pciBusID":"0000:04:00.8"})",
                           R"({"pciBusID":"0000:04:00"})",
                           R"({"pciBusID":"04:00.5"})",
                           R"({"pciBusID":"0000:04:00.5/.."})",
                           R"({"runtimeConfig":{"deviceID":"../x.y"}})",
                           R"({"runtimeConfig":{"deviceID":"a..b"}})",
                           R"({"runtimeConfig":{"deviceID":"a/b.c"}})",
                           R"({"runtimeConfig":{"deviceID":"plain"}})",
                           R"({"device":"a/b"})",
                           R"({"device":".."})",
                           R"({"device":"averylongdevicename"})",
                           R"({"hwaddr":"x"})",
                           R"({"DPDKMode":1})",
                           R"({"device":7})"}) {
    const auto config = parse(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig) << json;
  }
}

TEST(DeviceHome, SurvivesItsRecord) {
  DeviceHome home{.name = "ens3",
                  .alias = "uplink",
                  .kind = "",
                  .parentDevice = "virtio3",
                  .permanentMac = MacAddress::parse("52:54:00:00:00:01"),
                  .mac = MacAddress::parse("52:54:00:00:00:09"),
                  .mtuBytes = 9000,
                  .up = true,
                  .moved = true};
  Record record;
  record.details = home.json();
  const auto read = DeviceHome::from(record);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->json(), home.json());
}

TEST(DeviceHome, ADamagedRecordTellsOfNoDevice) {
  Record record;
  for (const char* details :
       {"{}", R"({"name":"a/b"})", R"({"name":7})", R"({"name":"x","mtu":-1})"}) {
    record.details = nlohmann::json::parse(details);
    EXPECT_FALSE(DeviceHome::from(record)) << details;
  }
}

}  // namespace
}  // namespace culvert::plugins
