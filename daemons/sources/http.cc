#include "daemons/sources/http.h"

#include <boost/asio/post.hpp>
#include <deque>
#include <map>

#include "daemons/sources/exchange.h"

namespace culvert::sources::http {

namespace {

constexpr std::size_t kMaxKept = 4;

bool isPort(const std::string& text) {
  return !text.empty() && text.size() <= 5 &&
         text.find_first_not_of("0123456789") == std::string::npos && std::stoi(text) <= 65535;
}

}  // namespace

std::string Endpoint::text() const {
  const bool isV6 = host.find(':') != std::string::npos;
  return (tls ? "https://" : "http://") + (isV6 ? "[" + host + "]" : host) + ":" + port + basePath;
}

Result<Endpoint> parseEndpoint(const std::string& url) {
  const auto refuse = [&] {
    return makeError(Errc::kInvalidConfig,
                     "\"" + url + "\" is not http://HOST[:PORT] or https://HOST[:PORT]");
  };
  Endpoint endpoint;
  endpoint.tls = url.starts_with("https://");
  if (!endpoint.tls && !url.starts_with("http://")) return refuse();
  std::string rest = url.substr(endpoint.tls ? 8 : 7);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  endpoint.basePath = rest.substr(slash);
  while (endpoint.basePath.ends_with('/'))
    endpoint.basePath.pop_back();
  rest.resize(slash);
  const std::size_t bracket = rest.starts_with('[') ? rest.find(']') : 0;
  if (bracket == std::string::npos) return refuse();
  const std::size_t colon = std::min(rest.find(':', bracket), rest.size());
  endpoint.host = bracket > 0 ? rest.substr(1, bracket - 1) : rest.substr(0, colon);
  endpoint.port = colon < rest.size() ? rest.substr(colon + 1) : endpoint.tls ? "443" : "80";
  if (endpoint.host.empty() || !isPort(endpoint.port)) return refuse();
  if (url.find_first_of(" \t\r\n@?#") != std::string::npos) return refuse();
  return endpoint;
}

struct Client::Impl final : Exchange::Owner, std::enable_shared_from_this<Impl> {
  Impl(boost::asio::io_context& loop, Options with) : io(loop), settings(std::move(with)) {}

  std::shared_ptr<Connection> takeKept() override {
    while (!kept.empty()) {
      auto connection = std::move(kept.back());
      kept.pop_back();
      if (connection->endpoint == current() && connection->isQuiet()) return connection;
    }
    return nullptr;
  }
  void keep(std::shared_ptr<Connection> connection) override {
    if (connection->tls && connection->context != context) return;
    if (kept.size() < kMaxKept) kept.push_back(std::move(connection));
  }
  const Options& options() const override { return settings; }
  TlsContext tls() const override { return context; }
  const Endpoint& current() const override { return settings.endpoints[at]; }
  void preferNext() override { at = (at + 1) % settings.endpoints.size(); }

  void finished(Exchange& exchange) override {
    for (auto each = running.begin(); each != running.end(); ++each) {
      if (each->second.get() != &exchange) continue;
      if (each->first == 0) --busy;
      running.erase(each);
      break;
    }
    startWaiting();
  }

  void startWaiting() {
    while (busy < kMaxExchanges && !waiting.empty()) {
      auto next = std::move(waiting.front());
      waiting.pop_front();
      ++busy;
      start(0, std::move(next));
    }
  }

  void start(std::uint64_t number, std::shared_ptr<Exchange> exchange) {
    running.emplace(number, exchange);
    // Not at once, so that nobody is called from within send() or stream().
    boost::asio::post(io, [exchange, weak = weak_from_this()] {
      if (weak.lock()) exchange->start();
    });
  }

  void cancelAll() {
    waiting.clear();
    busy = 0;
    for (const auto& [number, exchange] : std::exchange(running, {}))
      exchange->cancel();
    kept.clear();
  }

  boost::asio::io_context& io;
  Options settings;
  TlsContext context;
  std::size_t at = 0;
  std::vector<std::shared_ptr<Connection>> kept;
  std::multimap<std::uint64_t, std::shared_ptr<Exchange>> running;  // number 0: not streams
  std::deque<std::shared_ptr<Exchange>> waiting;
  std::size_t busy = 0;
  std::uint64_t lastNumber = 0;
};

Result<std::unique_ptr<Client>> Client::create(boost::asio::io_context& io, Options options) {
  if (options.endpoints.empty()) return makeError(Errc::kInvalidConfig, "no endpoint");
  auto impl = std::make_shared<Impl>(io, std::move(options));
  std::unique_ptr<Client> client(new Client(impl));
  TRY(client->setTls(impl->settings.tls));
  return client;
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Client::~Client() {
  cancelAll();
}

void Client::send(Request request, std::function<void(Result<Response>)> done) {
  StreamHandler handler;
  handler.onDone = std::move(done);
  impl_->waiting.push_back(
      std::make_shared<Exchange>(impl_->io, impl_, std::move(request), std::move(handler), false));
  impl_->startWaiting();
}

std::uint64_t Client::stream(Request request, StreamHandler handler) {
  const std::uint64_t number = ++impl_->lastNumber;
  impl_->start(number, std::make_shared<Exchange>(impl_->io, impl_, std::move(request),
                                                  std::move(handler), true));
  return number;
}

void Client::cancel(std::uint64_t stream) {
  const auto at = stream == 0 ? impl_->running.end() : impl_->running.find(stream);
  if (at == impl_->running.end()) return;
  const auto exchange = at->second;
  impl_->running.erase(at);
  exchange->cancel();
}

void Client::cancelAll() {
  impl_->cancelAll();
}

Result<void> Client::setTls(const Tls& tls) {
  impl_->context = TRY(makeTlsContext(tls));
  impl_->settings.tls = tls;
  impl_->kept.clear();
  return {};
}

void Client::preferNext() {
  impl_->preferNext();
}

const Endpoint& Client::current() const {
  return impl_->current();
}

}  // namespace culvert::sources::http
