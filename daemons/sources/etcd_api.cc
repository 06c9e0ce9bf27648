#include "daemons/sources/etcd_api.h"

#include <boost/asio/post.hpp>

#include "base/file.h"
#include "daemons/objects/base64.h"

namespace culvert::sources {

namespace {

constexpr std::size_t kMaxFileBytes = 1U << 20;
enum GrpcCode { kOutOfRange = 11, kUnauthenticated = 16, kPermissionDenied = 7, kInvalid = 3 };

Result<std::string> contentOf(const std::string& file) {
  if (file.empty()) return std::string();
  return readFile(file, kMaxFileBytes);
}

int grpcCode(const Json& refusal) {
  for (const char* key : {"code", "grpc_code"}) {
    if (refusal.is_object() && refusal.contains(key))
      return static_cast<int>(integerOf(refusal, key));
  }
  return 0;
}

}  // namespace

EtcdKeyValue parseKeyValue(const Json& json) {
  return {decodeBase64(textOf(json, "key")).value_or(""),
          decodeBase64(textOf(json, "value")).value_or(""), integerOf(json, "mod_revision")};
}

std::string endOfPrefix(std::string prefix) {
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

Error etcdError(const Json& refusal) {
  std::string message = textOf(refusal, "message");
  if (message.empty()) message = textOf(refusal, "error");
  message = "etcd answered: " + message;
  switch (grpcCode(refusal)) {
    case kOutOfRange:
      return makeError(Errc::kNotFound, message);
    case kPermissionDenied:
    case kUnauthenticated:
    case kInvalid:
      return makeError(Errc::kIo, message);
    default:
      return makeError(Errc::kTryAgain, message);
  }
}

Result<std::unique_ptr<EtcdApi>> EtcdApi::create(boost::asio::io_context& io,
                                                 const EtcdConfig& config) {
  std::unique_ptr<EtcdApi> api(new EtcdApi(io, config));
  http::Options options;
  for (const auto& each : config.endpoints) {
    options.endpoints.push_back(TRY(http::parseEndpoint(each)));
  }
  options.tls.authority = TRY(contentOf(config.caFile));
  options.tls.certificate = TRY(contentOf(config.certFile));
  options.tls.key = TRY(contentOf(config.keyFile));
  options.userAgent = std::string("culvertd/") + CULVERT_VERSION;
  options.connectTimeout =
      std::min<std::chrono::milliseconds>(options.connectTimeout, config.timeout);
  api->client_ = TRY(http::Client::create(io, std::move(options)));
  return api;
}

EtcdApi::Stream::~Stream() {
  const auto held = client.lock();
  if (*open && held) held->cancel(number);
  *open = false;
}

void EtcdApi::later(std::function<void()> call) {
  boost::asio::post(io_, [alive = alive_, call = std::move(call)] {
    if (*alive) call();
  });
}

void EtcdApi::stop() {
  *alive_ = false;
  alive_ = std::make_shared<bool>(true);
  waiting_.clear();
  if (client_) client_->cancelAll();
}

void EtcdApi::call(const std::string& path, const Json& body, bool repeatable, Done done) {
  callOnce(path, body, repeatable, [=, this](Result<Json> answer) {
    if (!std::exchange(refused_, false)) return done(std::move(answer));
    token_.clear();
    callOnce(path, body, repeatable, done);
  });
}

void EtcdApi::callOnce(const std::string& path, const Json& body, bool repeatable, Done done) {
  authorize([=, this](const Result<std::string>& token) {
    if (!token) return later([done, error = token.error()] { done(error); });
    http::Request request = makeRequest(path, body, *token);
    request.repeatable = repeatable;
    client_->send(std::move(request),
                  [this, done](const auto& response) { done(judge(response)); });
  });
}

std::shared_ptr<EtcdApi::Stream> EtcdApi::stream(const std::string& path, const Json& body,
                                                 std::chrono::milliseconds timeout,
                                                 std::shared_ptr<JsonSplitter> splitter,
                                                 std::function<void(Result<void>)> done) {
  auto stream = std::make_shared<Stream>();
  stream->client = client_;
  http::StreamHandler handler;
  handler.onData = [splitter](std::string_view bytes) { return splitter->push(bytes); };
  handler.onDone = [=, this, open = stream->open](const Result<http::Response>& response) {
    if (!std::exchange(*open, false)) return;
    if (response && response->ok()) return done(splitter->finish());
    const Result<Json> judged = judge(response);
    if (std::exchange(refused_, false)) token_.clear();
    done(judged ? Result<void>() : Result<void>(judged.error()));
  };
  authorize([=, this, weak = std::weak_ptr(stream)](const Result<std::string>& token) {
    const auto self = weak.lock();
    if (!self || !*self->open) return;
    if (!token) {
      return later([handler, error = token.error()] { handler.onDone(error); });
    }
    http::Request request = makeRequest(path, body, *token);
    request.timeout = timeout;
    self->number = client_->stream(std::move(request), handler);
  });
  return stream;
}

http::Request EtcdApi::makeRequest(const std::string& path, const Json& body,
                                   const std::string& token) {
  http::Request request;
  request.method = "POST";
  request.target = "/v3/" + path;
  request.body = body.dump();
  request.timeout = config_.timeout;
  if (!token.empty()) request.headers.emplace_back("Authorization", token);
  return request;
}

void EtcdApi::authorize(Authorized use) {
  if (config_.username.empty() || !token_.empty()) return use(token_);
  waiting_.push_back(std::move(use));
  if (waiting_.size() == 1) logIn();
}

void EtcdApi::logIn() {
  auto password = readFile(config_.passwordFile, kMaxFileBytes);
  if (!password) return loggedIn(password.error());
  while (password->ends_with('\n'))
    password->pop_back();
  http::Request request =
      makeRequest("auth/authenticate", {{"name", config_.username}, {"password", *password}}, "");
  request.repeatable = true;
  client_->send(std::move(request), [this](const auto& response) { loggedIn(response); });
}

void EtcdApi::loggedIn(const Result<http::Response>& response) {
  Result<Json> answer = judge(response);
  refused_ = false;
  Result<std::string> token = std::string();
  if (!answer) {
    token = answer.error();
  } else {
    token_ = textOf(*answer, "token");
    token = token_;
  }
  for (const auto& use : std::exchange(waiting_, {}))
    use(token);
}

/// The answer's JSON, or why there is none; notes whether our token was refused, and leaves an
/// endpoint that can do nothing for us.
Result<Json> EtcdApi::judge(const Result<http::Response>& response) {
  if (!response) return response.error();
  Json json = Json::parse(response->body, nullptr, false);
  if (response->ok() && json.is_object()) return json;
  if (!json.is_object()) {
    client_->preferNext();
    return makeError(Errc::kTryAgain, "etcd answered " + std::to_string(response->status));
  }
  Error error = etcdError(json);
  refused_ = grpcCode(json) == kUnauthenticated && !config_.username.empty();
  if (error.code == Errc::kTryAgain) client_->preferNext();
  return error;
}

}  // namespace culvert::sources
