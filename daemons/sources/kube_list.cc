#include "daemons/sources/kube_list.h"

#include "daemons/sources/json_splitter.h"

namespace culvert::sources {

namespace {

std::string memberOf(const Json& object, const char* key) {
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return {};
  const auto at = metadata->find(key);
  return at != metadata->end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

std::string collectionPath(const Kind& kind, const std::string& ns) {
  return (kind.group.empty() ? "/api/" : "/apis/") + kind.apiVersion() +
         (kind.namespaced && !ns.empty() ? "/namespaces/" + percentEncoded(ns) : "") + "/" +
         std::string(kind.plural);
}

std::string objectPath(const Kind& kind, const Key& key) {
  return collectionPath(kind, key.ns) + "/" + percentEncoded(key.name);
}

std::string percentEncoded(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
    } else {
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

std::string selectorParameters(const Query& query) {
  std::string text;
  if (!query.fieldSelector.empty()) text += "&fieldSelector=" + percentEncoded(query.fieldSelector);
  if (!query.labelSelector.empty()) text += "&labelSelector=" + percentEncoded(query.labelSelector);
  return text;
}

Key keyOf(const Json& object) {
  return {memberOf(object, "namespace"), memberOf(object, "name")};
}

std::string versionOf(const Json& object) {
  return memberOf(object, "resourceVersion");
}

struct KubeList::Page {
  explicit Page(JsonSplitter::Sink sink) : splitter(JsonSplitter::list("items", std::move(sink))) {}
  JsonSplitter splitter;
};

void KubeList::begin(int limit) {
  limit_ = limit;
  handler_.onBegin();
  ask("");
}

void KubeList::ask(const std::string& next) {
  http::Request request;
  request.target = collectionPath(query_.kind, query_.ns) + "?limit=" + std::to_string(limit_) +
                   selectorParameters(query_);
  if (!next.empty()) request.target += "&continue=" + percentEncoded(next);
  auto page = std::make_shared<Page>([this](Json&& object) -> Result<void> {
    item(std::move(object));
    return {};
  });
  http::StreamHandler handler;
  handler.onData = [page](std::string_view bytes) { return page->splitter.push(bytes); };
  handler.onDone = [this, page](const Result<http::Response>& response) {
    answered(response, *page);
  };
  stream_ = api_.stream(std::move(request), std::move(handler));
}

void KubeList::answered(const Result<http::Response>& response, Page& page) {
  if (!response) return handler_.onDone(response.error(), std::nullopt);
  // The token has expired while we listed: once more, and in one go.
  if (response->status == 410 && limit_ != 0) return begin(0);
  if (!response->ok()) return handler_.onDone(kubeError(*response), response->retryAfter);
  if (auto whole = page.splitter.finish(); !whole) {
    return handler_.onDone(std::move(whole.error()).wrap("list " + std::string(query_.kind.plural)),
                           std::nullopt);
  }
  const std::string next = memberOf(page.splitter.rest(), "continue");
  if (!next.empty()) return ask(next);
  handler_.onDone(versionOf(page.splitter.rest()), std::nullopt);
}

/// The items of a list do not say what they are.
void KubeList::item(Json&& object) {
  object["apiVersion"] = query_.kind.apiVersion();
  object["kind"] = query_.kind.name;
  const Key key = keyOf(object);
  if (!key.name.empty()) handler_.onItem(key, std::move(object));
}

}  // namespace culvert::sources
