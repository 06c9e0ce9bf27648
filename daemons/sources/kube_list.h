#pragma once

#include <memory>
#include <optional>

#include "daemons/sources/kube_api.h"
#include "daemons/sources/source.h"

namespace culvert::sources {

/// "/api/v1/nodes", "/apis/GROUP/VERSION/namespaces/NS/PLURAL"
std::string collectionPath(const Kind& kind, const std::string& ns);
std::string objectPath(const Kind& kind, const Key& key);
/// With %XX for whatever RFC 3986 does not call unreserved.
std::string percentEncoded(const std::string& text);
/// "&fieldSelector=...&labelSelector=..."
std::string selectorParameters(const Query& query);

Key keyOf(const Json& object);
std::string versionOf(const Json& object);

/// One list of a query, in pages, the objects handed out one at a time. Ends when destroyed.
class KubeList {
 public:
  struct Handler {
    std::function<void()> onBegin;  // again, if the list had to be begun anew
    std::function<void(Key, Json&&)> onItem;
    /// The list's resourceVersion.
    std::function<void(Result<std::string>, std::optional<std::chrono::seconds> retryAfter)> onDone;
  };
  KubeList(KubeApi& api, Query query, Handler handler)
      : api_(api), query_(std::move(query)), handler_(std::move(handler)) {}

  void start() { begin(kPage); }

 private:
  struct Page;
  static constexpr int kPage = 500;

  void begin(int limit);
  void ask(const std::string& next);
  void answered(const Result<http::Response>& response, Page& page);
  void item(Json&& object);

  KubeApi& api_;
  Query query_;
  Handler handler_;
  int limit_ = kPage;
  std::shared_ptr<KubeApi::Stream> stream_;
};

}  // namespace culvert::sources
