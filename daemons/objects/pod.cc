#include "daemons/objects/pod.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "daemons/objects/metadata.h"

namespace culvert::objects {
namespace {

using nlohmann::json;

std::string pathOf(const char* annotation) {
  return std::string("metadata.annotations[") + annotation + "]";
}

std::vector<std::string> textsOf(const Metadata& meta, const char* annotation,
                                 cni::Problems& problems) {
  const std::string& text = meta.annotation(annotation);
  if (text.empty()) return {};
  const json list = json::parse(text, nullptr, false);
  const bool right = list.is_array() && std::all_of(list.begin(), list.end(), [](const json& one) {
                       return one.is_string();
                     });
  if (right) return list.get<std::vector<std::string>>();
  problems.add(pathOf(annotation), "\"" + text + "\" is no JSON array of strings");
  return {};
}

void readAddresses(const Metadata& meta, const char* annotation, PodWishes& wishes,
                   cni::Problems& problems) {
  for (const std::string& text : textsOf(meta, annotation, problems)) {
    const auto address = IpAddress::parse(text);
    const bool second = address && std::any_of(wishes.addresses.begin(), wishes.addresses.end(),
                                               [&](const IpAddress& other) {
                                                 return other.family() == address->family();
                                               });
    if (!address)
      problems.add(pathOf(annotation), "\"" + text + "\" is not an IP address");
    else if (second)
      problems.add(pathOf(annotation), "a pod has one address of each family");
    else
      wishes.addresses.push_back(*address);
  }
}

}  // namespace

Result<PodWishes> PodWishes::parse(const json& pod) {
  const Metadata meta = TRY(Metadata::parse(pod));
  cni::Problems problems;
  PodWishes wishes;
  const bool ours = !meta.annotation(annotations::kPodAddresses).empty();
  readAddresses(meta, ours ? annotations::kPodAddresses : annotations::kCalicoAddresses, wishes,
                problems);
  wishes.pools = textsOf(meta, annotations::kPodPools, problems);
  if (meta.annotation(annotations::kPodPools).empty()) {
    for (const char* annotation : {annotations::kCalicoPoolsV4, annotations::kCalicoPoolsV6}) {
      for (std::string& text : textsOf(meta, annotation, problems))
        wishes.pools.push_back(std::move(text));
    }
  }
  TRY(problems.take());
  return wishes;
}

}  // namespace culvert::objects
