#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <memory>

#include "daemons/sources/exec_plugin.h"
#include "daemons/sources/kube_access.h"

namespace culvert::sources {

/// Requests to an API server with our credentials, which are renewed as they expire or are refused.
class KubeApi {
 public:
  static Result<std::unique_ptr<KubeApi>> create(boost::asio::io_context& io, KubeAccess access);
  ~KubeApi() { stop(); }
  KubeApi(const KubeApi&) = delete;
  KubeApi& operator=(const KubeApi&) = delete;

  /// An answer of 401 is asked for once more, with fresh credentials.
  void send(http::Request request, std::function<void(Result<http::Response>)> done);

  /// A stream under way; ends when destroyed, and its handler is not called any more.
  class Stream {
   public:
    explicit Stream(std::weak_ptr<http::Client> client) : client_(std::move(client)) {}
    ~Stream() {
      const auto client = client_.lock();
      if (*open_ && client) client->cancel(number_);
      *open_ = false;
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

   private:
    friend class KubeApi;
    std::weak_ptr<http::Client> client_;
    std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
    std::uint64_t number_ = 0;
  };
  std::shared_ptr<Stream> stream(http::Request request, http::StreamHandler handler);

  /// From the loop, unless stop() comes before.
  void later(std::function<void()> call);
  /// Nobody is called any more.
  void stop();
  std::string server() const { return access_.endpoint.text(); }

 private:
  using Authorized = std::function<void(Result<std::string>)>;

  KubeApi(boost::asio::io_context& io, KubeAccess access) : io_(io), access_(std::move(access)) {}
  void sendOnce(http::Request request, std::function<void(Result<http::Response>)> done);
  void authorize(Authorized use);
  void runPlugin();
  void pluginDone(Result<ExecCredential> credential);
  Result<std::string> tokenFromFile();
  void refused();

  boost::asio::io_context& io_;
  KubeAccess access_;
  std::shared_ptr<http::Client> client_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::string fileToken_;
  std::chrono::steady_clock::time_point readAt_;
  std::optional<ExecCredential> credential_;
  std::unique_ptr<ExecRun> run_;
  std::deque<Authorized> waiting_;  // for the plug-in
};

/// What a refusal stands for; its text from the Status object in it.
Error kubeError(const http::Response& response);

}  // namespace culvert::sources
