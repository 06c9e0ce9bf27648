#include "daemons/frame/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sstream>

#include "base/file.h"

namespace culvert::frame {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily single(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family{name, help, type, {}};
  ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(metric);
  return family;
}

double openDescriptors() {
  const auto open = listDirectory("/proc/self/fd");
  return open ? static_cast<double>(open->size()) - 1 : 0;  // but the folder itself
}

double maxDescriptors() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<double>(limit.rlim_cur) : 0;
}

/// When the machine started, in seconds since 1970 (proc(5), /proc/stat "btime").
double bootTime() {
  const auto text = readFile("/proc/stat", std::size_t{16} * 1024 * 1024);
  const std::size_t at = text ? text->find("\nbtime ") : std::string::npos;
  return at == std::string::npos ? 0 : std::strtod(text->c_str() + at + 7, nullptr);
}

/// The fields of proc(5) /proc/self/stat from the third (state) on; the second may hold anything.
std::vector<std::string> processStat() {
  const auto text = readFile("/proc/self/stat", 65536);
  const std::size_t name = text ? text->rfind(')') : std::string::npos;
  if (name == std::string::npos) return {};
  std::istringstream words(text->substr(name + 1));
  std::vector<std::string> fields;
  for (std::string word; words >> word;)
    fields.push_back(word);
  return fields;
}

std::vector<MetricFamily> processMetrics() {
  const auto fields = processStat();
  if (fields.size() < 22) return {};
  const auto number = [&](std::size_t field) {
    return std::strtod(fields[field - 3].c_str(), nullptr);
  };
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  static const double kBoot = bootTime();
  return {
      single("process_cpu_seconds_total", "Time spent in user and system mode.",
             MetricType::Counter, (number(14) + number(15)) / ticks),
      single("process_start_time_seconds", "When the process started, since 1970.",
             MetricType::Gauge, kBoot + number(22) / ticks),
      single("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, number(23)),
      single("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
             number(24) * page),
      single("process_open_fds", "Open file descriptors.", MetricType::Gauge, openDescriptors()),
      single("process_max_fds", "Limit of open file descriptors.", MetricType::Gauge,
             maxDescriptors()),
  };
}

}  // namespace

Metrics::Metrics(std::string_view version)
    : registry_(
          std::make_unique<prometheus::Registry>(prometheus::Registry::InsertBehavior::Merge)) {
  gauge("culvert_build_info", "1, with what was built in its labels.",
        {{"version", std::string(version)}, {"compiler", __VERSION__}})
      .Set(1);
}

Metrics::~Metrics() = default;

prometheus::Counter& Metrics::counter(const std::string& name, const std::string& help,
                                      const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Gauge& Metrics::gauge(const std::string& name, const std::string& help,
                                  const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Histogram& Metrics::histogram(const std::string& name, const std::string& help,
                                          const std::vector<double>& bounds, const Labels& labels) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_);
  return family.Add(labels, bounds);
}

void Metrics::onScrape(std::function<void()> update) {
  updates_.push_back(std::move(update));
}

std::string Metrics::text() {
  for (const auto& update : updates_)
    update();
  auto families = registry_->Collect();
  for (MetricFamily& family : processMetrics())
    families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace culvert::frame
