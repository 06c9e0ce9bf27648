#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Registry;
}

namespace culvert::frame {

/// The daemon's metrics. Names begin with "culvert_" (Prometheus' own naming rules are the
/// caller's to keep: base units, _total for counters). References live as long as the Metrics;
/// asking twice for the same name and labels gives the same one.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  /// Registers culvert_build_info{version, compiler} and the process_* metrics that every
  /// Prometheus client has (cpu, memory, descriptors, start time), read when asked for.
  explicit Metrics(std::string_view version);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  prometheus::Counter& counter(const std::string& name, const std::string& help,
                               const Labels& labels = {});
  prometheus::Gauge& gauge(const std::string& name, const std::string& help,
                           const Labels& labels = {});
  /// `bounds`: ascending upper bounds; +Inf is added.
  prometheus::Histogram& histogram(const std::string& name, const std::string& help,
                                   const std::vector<double>& bounds, const Labels& labels = {});

  /// Called before each scrape: what is cheap to look up need not be kept up to date.
  void onScrape(std::function<void()> update);

  /// Text exposition format 0.0.4.
  std::string text();
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  std::unique_ptr<prometheus::Registry> registry_;
  std::vector<std::function<void()>> updates_;
};

}  // namespace culvert::frame
