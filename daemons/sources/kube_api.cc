#include "daemons/sources/kube_api.h"

#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "daemons/objects/base64.h"

namespace culvert::sources {

namespace {

constexpr std::chrono::seconds kTokenAge{30};  // of a token file, before it is read again
constexpr std::chrono::seconds kMargin{10};    // before a credential expires

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

std::string bearer(const std::string& token) {
  return token.empty() ? "" : "Bearer " + token;
}

void addAuthorization(http::Request& request, const std::string& value) {
  if (!value.empty()) request.headers.emplace_back("Authorization", value);
}

Errc codeOf(unsigned status, const std::string& reason) {
  switch (status) {
    case 404:
      return Errc::kNotFound;
    case 409:
      return reason == "AlreadyExists" ? Errc::kAlreadyExists : Errc::kConflict;
    case 400:
    case 413:
    case 415:
    case 422:
      return Errc::kInvalidConfig;
    case 429:
      return Errc::kTryAgain;
    default:
      return status >= 500 ? Errc::kTryAgain : Errc::kIo;
  }
}

}  // namespace

Error kubeError(const http::Response& response) {
  const Json json = Json::parse(response.body, nullptr, false);
  std::string reason;
  std::string message = response.body.substr(0, 200);
  if (json.is_object()) {
    const auto text = [&](const char* key) {
      const auto at = json.find(key);
      return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    reason = text("reason");
    message = text("message");
  }
  return makeError(codeOf(response.status, reason), "the API server answered " +
                                                        std::to_string(response.status) +
                                                        (message.empty() ? "" : ": " + message));
}

Result<std::unique_ptr<KubeApi>> KubeApi::create(boost::asio::io_context& io, KubeAccess access) {
  std::unique_ptr<KubeApi> api(new KubeApi(io, std::move(access)));
  http::Options options;
  options.endpoints = {api->access_.endpoint};
  options.tls = api->access_.tls;
  options.userAgent = std::string("culvertd/") + CULVERT_VERSION;
  api->client_ = TRY(http::Client::create(io, std::move(options)));
  return api;
}

void KubeApi::send(http::Request request, std::function<void(Result<http::Response>)> done) {
  sendOnce(request, [this, request, done](Result<http::Response> response) {
    if (!response || response->status != 401) return done(std::move(response));
    refused();
    sendOnce(request, done);
  });
}

void KubeApi::sendOnce(http::Request request, std::function<void(Result<http::Response>)> done) {
  authorize([this, request, done](Result<std::string> value) mutable {
    if (!value) return later([done, error = value.error()] { done(error); });
    addAuthorization(request, *value);
    client_->send(std::move(request), std::move(done));
  });
}

std::shared_ptr<KubeApi::Stream> KubeApi::stream(http::Request request,
                                                 http::StreamHandler handler) {
  auto stream = std::make_shared<Stream>(client_);
  handler.onDone = [this, open = stream->open_, done = std::move(handler.onDone)](auto response) {
    if (response && response->status == 401) refused();
    if (std::exchange(*open, false)) done(std::move(response));
  };
  authorize([this, weak = std::weak_ptr(stream), request, handler](auto value) mutable {
    const auto self = weak.lock();
    if (!self || !*self->open_) return;
    // A failure is told later, from the loop, like any other.
    if (!value) return later([handler, error = value.error()] { handler.onDone(error); });
    addAuthorization(request, *value);
    self->number_ = client_->stream(std::move(request), std::move(handler));
  });
  return stream;
}

void KubeApi::later(std::function<void()> call) {
  boost::asio::post(io_, [alive = alive_, call = std::move(call)] {
    if (*alive) call();
  });
}

void KubeApi::stop() {
  *alive_ = false;
  alive_ = std::make_shared<bool>(true);
  run_.reset();
  waiting_.clear();
  if (client_) client_->cancelAll();
}

/// Calls `use` at once with what is at hand, or when the plug-in has answered.
void KubeApi::authorize(Authorized use) {
  if (!access_.tokenFile.empty()) {
    auto token = tokenFromFile();
    return token ? use(bearer(*token)) : use(token.error());
  }
  if (!access_.token.empty()) return use(bearer(access_.token));
  if (!access_.username.empty()) {
    return use("Basic " + encodeBase64(access_.username + ":" + access_.password));
  }
  if (!access_.exec) return use(std::string());
  if (credential_ && credential_->expires &&
      *credential_->expires < std::chrono::system_clock::now() + kMargin) {
    credential_.reset();
  }
  if (credential_) return use(bearer(credential_->token));
  waiting_.push_back(std::move(use));
  if (waiting_.size() == 1) runPlugin();
}

void KubeApi::runPlugin() {
  run_ =
      ExecRun::start(io_, access_, [this](auto credential) { pluginDone(std::move(credential)); });
}

void KubeApi::pluginDone(Result<ExecCredential> credential) {
  const auto finished = std::move(run_);
  Result<std::string> value = std::string();
  if (!credential) {
    value = credential.error();
  } else {
    credential_ = *credential;
    value = bearer(credential_->token);
    http::Tls tls = access_.tls;
    if (!credential_->certificate.empty()) {
      tls.certificate = credential_->certificate;
      tls.key = credential_->key;
      if (auto set = client_->setTls(tls); !set) value = set.error();
    }
  }
  for (const auto& use : std::exchange(waiting_, {}))
    use(value);
}

/// A short read of a local file, once in a while.
Result<std::string> KubeApi::tokenFromFile() {
  const auto now = std::chrono::steady_clock::now();
  if (!fileToken_.empty() && now - readAt_ < kTokenAge) return fileToken_;
  auto text = readFile(access_.tokenFile, 1U << 20);
  if (!text && fileToken_.empty()) return std::move(text).context("the token");
  if (text) fileToken_ = trimmed(*text);
  readAt_ = now;
  return fileToken_;
}

void KubeApi::refused() {
  readAt_ = {};
  fileToken_.clear();
  credential_.reset();
}

}  // namespace culvert::sources
