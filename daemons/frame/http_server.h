#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace boost::asio {
class io_context;
}

namespace culvert::frame {

/// Who is at the other end of a Unix socket (SO_PEERCRED, SO_PEERGROUPS in socket(7)).
struct Peer {
  int pid = 0;
  unsigned uid = 0;
  std::vector<unsigned> groups;  // the primary one first
};

struct HttpRequest {
  std::string method;                        // "GET"
  std::string path;                          // without the query, percent-decoded
  std::map<std::string, std::string> query;  // decoded; "?verbose" is a key with an empty value
  std::string body;
  std::optional<Peer> peer;  // of a Unix socket
};

struct HttpResponse {
  unsigned status = 200;
  std::string contentType = "text/plain; charset=utf-8";
  std::string body;
  std::map<std::string, std::string> headers = {};  // others than the content's type and length
};

using Respond = std::function<void(HttpResponse)>;
/// Calls `respond` once, at once or later from the loop. The request lives until then.
using HttpHandler = std::function<void(const HttpRequest&, Respond respond)>;

/// Exact paths to handlers. Unknown paths get 404, known ones with another method 405.
class Router {
 public:
  void add(const std::string& method, const std::string& path, HttpHandler handler);
  void dispatch(const HttpRequest& request, Respond respond) const;

 private:
  std::map<std::string, std::map<std::string, HttpHandler>> paths_;  // path, then method
};

/// HTTP/1.1 on one listening socket, TCP or Unix, bounded in everything a stranger could exhaust:
/// beyond `connections`, others wait in the kernel's backlog.
struct HttpLimits {
  std::size_t connections = 64;
  std::size_t headerBytes = std::size_t{16} * 1024;
  std::size_t bodyBytes = std::size_t{1024} * 1024;
  std::chrono::seconds idle{60};   // between requests
  std::chrono::seconds read{10};   // a request, once it has begun
  std::chrono::seconds write{30};  // a response
};

class HttpServer {
 public:
  /// Takes over the listening, non-blocking `socket`. `handler` must outlive the server.
  HttpServer(boost::asio::io_context& loop, UniqueFd socket, HttpHandler handler,
             HttpLimits limits = {});
  /// Closes everything, except what release() has given away.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Takes no more connections (they wait in the backlog), closes idle ones and calls `drained` as
  /// soon as the others have got their responses.
  void drain(std::function<void()> drained);
  /// The listening socket, for who serves it next. The server accepts no more.
  UniqueFd release();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

/// "a%20b" -> "a b"; what is no proper escape stays as it is.
std::string percentDecoded(std::string_view text);
/// "/path?key=value&flag" into `request`.
void parseTarget(std::string_view target, HttpRequest& request);

}  // namespace culvert::frame
