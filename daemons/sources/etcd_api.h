#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>

#include "daemons/sources/config.h"
#include "daemons/sources/http.h"
#include "daemons/sources/json_get.h"
#include "daemons/sources/json_splitter.h"

namespace culvert::sources {

/// etcd's JSON gateway (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway): bytes in base64,
/// 64-bit integers as strings, members with their default left out.
struct EtcdKeyValue {
  std::string key, value;
  std::int64_t modRevision = 0;
};
EtcdKeyValue parseKeyValue(const Json& json);
/// The first key after all that begin with `prefix` (which does not end in 0xff).
std::string endOfPrefix(std::string prefix);

/// Calls to an etcd cluster, at the endpoint that answers, with a token that is renewed.
///
/// kTryAgain: no member reached, or none leads; kNotFound: the revision asked for has been
/// compacted; kIo: not permitted.
class EtcdApi {
 public:
  using Done = std::function<void(Result<Json>)>;

  static Result<std::unique_ptr<EtcdApi>> create(boost::asio::io_context& io,
                                                 const EtcdConfig& config);
  ~EtcdApi() { stop(); }
  EtcdApi(const EtcdApi&) = delete;
  EtcdApi& operator=(const EtcdApi&) = delete;

  /// `path` as "kv/range". `repeatable` if it does no harm to be done twice.
  void call(const std::string& path, const Json& body, bool repeatable, Done done);

  struct Stream {  // ends when destroyed
    ~Stream();
    std::weak_ptr<http::Client> client;
    std::shared_ptr<bool> open = std::make_shared<bool>(true);
    std::uint64_t number = 0;
  };
  /// Hands the answer to `splitter`, piece by piece.
  std::shared_ptr<Stream> stream(const std::string& path, const Json& body,
                                 std::chrono::milliseconds timeout,
                                 std::shared_ptr<JsonSplitter> splitter,
                                 std::function<void(Result<void>)> done);

  /// From the loop, unless stop() comes before.
  void later(std::function<void()> call);
  void preferNext() { client_->preferNext(); }
  /// It was refused within a stream: log in again.
  void forgetToken() { token_.clear(); }
  std::string server() const { return client_->current().text(); }
  std::chrono::milliseconds timeout() const { return config_.timeout; }
  void stop();

 private:
  using Authorized = std::function<void(Result<std::string>)>;

  EtcdApi(boost::asio::io_context& io, EtcdConfig config) : io_(io), config_(std::move(config)) {}
  void callOnce(const std::string& path, const Json& body, bool repeatable, Done done);
  http::Request makeRequest(const std::string& path, const Json& body, const std::string& token);
  void authorize(Authorized use);
  void logIn();
  void loggedIn(const Result<http::Response>& response);
  Result<Json> judge(const Result<http::Response>& response);

  boost::asio::io_context& io_;
  EtcdConfig config_;
  std::shared_ptr<http::Client> client_;
  std::string token_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool refused_ = false;  // by the last answer: log in again
  std::deque<Authorized> waiting_;
};

/// What a refusal (gRPC status in JSON) stands for.
Error etcdError(const Json& refusal);

}  // namespace culvert::sources
