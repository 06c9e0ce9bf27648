#include "plugins/multi/device.h"

#include <algorithm>

#include "base/file.h"
#include "cni/config_reader.h"
#include "cni/json.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using nlohmann::json;

constexpr const char* kCheckpoint = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
constexpr std::size_t kMaxCheckpointBytes = 8U << 20;

void append(const json& ids, std::vector<std::string>& devices) {
  if (ids.is_string()) devices.push_back(ids.get<std::string>());
  if (!ids.is_structured()) return;
  for (const json& item : ids)  // a list, or by NUMA node an object of lists
    append(item, devices);
}

}  // namespace

Result<std::vector<std::string>> parseCheckpoint(const json& checkpoint, const std::string& podUid,
                                                 const std::string& resource) {
  cni::Problems problems;
  const ConfigReader data = ConfigReader(checkpoint, "checkpoint", problems).object("Data");
  std::vector<std::string> devices;
  for (const ConfigReader& entry : data.objects("PodDeviceEntries")) {
    const bool wanted =
        entry.string("PodUID") == podUid && entry.string("ResourceName") == resource;
    if (wanted) append(entry.raw("DeviceIDs"), devices);
  }
  if (const auto outcome = problems.take(); !outcome)
    return makeError(Errc::kDecode, outcome.error().message);
  std::sort(devices.begin(), devices.end());
  return devices;
}

Result<std::string> Devices::next(const std::string& resource, const Pod& pod) {
  if (!left_.contains(resource)) {
    const std::string text =
        TRY(readFile(kCheckpoint, kMaxCheckpointBytes).context("devices of " + resource));
    const json checkpoint = TRY(cni::parseJson(text).context(kCheckpoint));
    left_[resource] = TRY(parseCheckpoint(checkpoint, pod.uid, resource));
  }
  std::vector<std::string>& devices = left_[resource];
  if (devices.empty()) {
    return makeError(Errc::kInvalidConfig, "the kubelet has given pod " + pod.ns + "/" + pod.name +
                                               " no (more) device of " + resource);
  }
  std::string device = devices.front();
  devices.erase(devices.begin());
  return device;
}

}  // namespace culvert::plugins::multi
