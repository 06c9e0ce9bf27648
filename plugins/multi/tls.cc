#include "plugins/multi/tls.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/oid.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/ip.h"
#include "plugins/multi/resolve.h"

namespace culvert::plugins::multi {
namespace {

using Clock = TlsStream::Clock;

Error tooSlow() {
  return makeError(Errc::kTryAgain, "no answer in time");
}

/// Until `fd` is ready for `events`, or the deadline.
Result<void> await(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return tooSlow();
    pollfd ready{fd, events, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(left) + 1);
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return fromErrno(errno, "poll");
  }
}

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

socklen_t fill(SocketAddress& target, const IpAddress& address, std::uint16_t port) {
  target = {};
  if (address.family() == Family::kV4) {
    target.v4.sin_family = AF_INET;
    target.v4.sin_port = htons(port);
    std::memcpy(&target.v4.sin_addr, address.bytes(), address.size());
    return sizeof target.v4;
  }
  target.v6.sin6_family = AF_INET6;
  target.v6.sin6_port = htons(port);
  std::memcpy(&target.v6.sin6_addr, address.bytes(), address.size());
  return sizeof target.v6;
}

Result<UniqueFd> connectTo(const IpAddress& address, std::uint16_t port,
                           Clock::time_point deadline) {
  SocketAddress target;
  const socklen_t length = fill(target, address, port);
  UniqueFd fd(::socket(target.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fromErrno(errno, "open a socket");
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), &target.any, length) == 0) return fd;
  if (errno == EINPROGRESS) {
    TRY(await(fd.get(), POLLOUT, deadline));
    int failure = 0;
    socklen_t size = sizeof failure;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure == 0) return fd;
    errno = failure;
  }
  Error error = fromErrno(errno, "connect to " + address.text());
  error.code = Errc::kTryAgain;
  return error;
}

Result<UniqueFd> connectToHost(const std::string& host, std::uint16_t port,
                               Clock::time_point deadline) {
  Result<UniqueFd> outcome = makeError(Errc::kTryAgain, "no address");
  for (const IpAddress& address : TRY(resolveHost(host))) {
    outcome = connectTo(address, port, deadline);
    if (outcome) break;
  }
  return outcome;
}

std::string tlsText(int code) {
  std::array<char, 200> text{};
  mbedtls_strerror(code, text.data(), text.size());
  return text.data();
}

Error tlsError(Errc code, const std::string& doing, int failure) {
  return makeError(code, doing + ": " + tlsText(failure));
}

/// mbed TLS reads PEM up to and including a NUL.
const unsigned char* pemBytes(const std::string& pem) {
  return reinterpret_cast<const unsigned char*>(pem.c_str());
}

int sendBytes(void* context, const unsigned char* data, std::size_t size) {
  const ssize_t sent = ::send(*static_cast<const int*>(context), data, size, MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<int>(sent);
  return errno == EAGAIN || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE
                                           : MBEDTLS_ERR_NET_SEND_FAILED;
}

int receiveBytes(void* context, unsigned char* data, std::size_t size) {
  const ssize_t got = ::recv(*static_cast<const int*>(context), data, size, 0);
  if (got >= 0) return static_cast<int>(got);
  return errno == EAGAIN || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ
                                           : MBEDTLS_ERR_NET_RECV_FAILED;
}

/// RFC 5280 section 4.2.1.6: an iPAddress among the certificate's alternative names. mbed TLS 2.28
/// compares names only.
bool isForAddress(const mbedtls_x509_crt& certificate, const IpAddress& address) {
  constexpr int kIpAddressTag = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7;
  if ((certificate.ext_types & MBEDTLS_X509_EXT_SUBJECT_ALT_NAME) == 0) return false;
  for (const auto* name = &certificate.subject_alt_names; name != nullptr; name = name->next) {
    if (name->buf.tag == kIpAddressTag && name->buf.len == address.size() &&
        std::memcmp(name->buf.p, address.bytes(), address.size()) == 0) {
      return true;
    }
  }
  return false;
}

std::string verifyText(std::uint32_t flags) {
  std::array<char, 512> text{};
  mbedtls_x509_crt_verify_info(text.data(), text.size(), "", flags);
  std::string all(text.data());
  while (all.ends_with('\n'))
    all.pop_back();
  for (char& c : all)
    if (c == '\n') c = ' ';
  return all;
}

}  // namespace

struct TlsStream::State {
  State() {
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&authority);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&ssl);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    mbedtls_ssl_free(&ssl);
    mbedtls_ssl_config_free(&config);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    mbedtls_x509_crt_free(&authority);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
  }

  Result<void> loadCredentials(const HttpsOptions& options);
  Result<void> configure(const HttpsOptions& options);
  Result<void> handshake(const HttpsOptions& options);
  /// Repeats a call of mbed TLS until it neither wants to read nor to write.
  template <class Call>
  Result<int> complete(Call call);

  mbedtls_entropy_context entropy{};
  mbedtls_ctr_drbg_context random{};
  mbedtls_x509_crt authority{}, certificate{};
  mbedtls_pk_context key{};
  mbedtls_ssl_config config{};
  mbedtls_ssl_context ssl{};
  UniqueFd socket;
  int fd = -1;  // the callbacks' view of `socket`
  Clock::time_point deadline;
};

template <class Call>
Result<int> TlsStream::State::complete(Call call) {
  for (;;) {
    const int outcome = call();
    if (outcome == MBEDTLS_ERR_SSL_WANT_READ) {
      TRY(await(fd, POLLIN, deadline));
    } else if (outcome == MBEDTLS_ERR_SSL_WANT_WRITE) {
      TRY(await(fd, POLLOUT, deadline));
    } else {
      return outcome;
    }
  }
}

Result<void> TlsStream::State::loadCredentials(const HttpsOptions& options) {
  int failure =
      mbedtls_x509_crt_parse(&authority, pemBytes(options.authority), options.authority.size() + 1);
  if (failure != 0)
    return tlsError(Errc::kInvalidConfig, "certificate-authority", failure < 0 ? failure : 0);
  if (options.certificate.empty() && options.key.empty()) return {};
  failure = mbedtls_x509_crt_parse(&certificate, pemBytes(options.certificate),
                                   options.certificate.size() + 1);
  if (failure != 0)
    return tlsError(Errc::kInvalidConfig, "client-certificate", failure < 0 ? failure : 0);
  failure = mbedtls_pk_parse_key(&key, pemBytes(options.key), options.key.size() + 1, nullptr, 0);
  if (failure != 0) return tlsError(Errc::kInvalidConfig, "client-key", failure);
  failure = mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
  if (failure != 0) return tlsError(Errc::kInvalidConfig, "client-certificate", failure);
  return {};
}

Result<void> TlsStream::State::configure(const HttpsOptions& options) {
  int failure = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0);
  if (failure != 0) return tlsError(Errc::kIo, "random numbers", failure);
  failure = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT,
                                        MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  if (failure != 0) return tlsError(Errc::kIo, "configure TLS", failure);
  TRY(loadCredentials(options));
  mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
  mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_ca_chain(&config, &authority, nullptr);
  failure = mbedtls_ssl_setup(&ssl, &config);
  if (failure != 0) return tlsError(Errc::kIo, "configure TLS", failure);
  // An address is no server_name (RFC 6066 section 3); isForAddress() compares it.
  const bool isAddress = IpAddress::parse(options.serverName).has_value();
  failure = mbedtls_ssl_set_hostname(&ssl, isAddress ? nullptr : options.serverName.c_str());
  if (failure != 0) return tlsError(Errc::kInvalidConfig, options.serverName, failure);
  mbedtls_ssl_set_bio(&ssl, &fd, sendBytes, receiveBytes, nullptr);
  return {};
}

Result<void> TlsStream::State::handshake(const HttpsOptions& options) {
  const int failure = TRY(complete([this] { return mbedtls_ssl_handshake(&ssl); }));
  if (failure == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED ||
      failure == MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE) {
    return makeError(Errc::kInvalidConfig, "the server's certificate is refused: " +
                                               verifyText(mbedtls_ssl_get_verify_result(&ssl)));
  }
  if (failure != 0) return tlsError(Errc::kTryAgain, "TLS handshake", failure);
  const auto address = IpAddress::parse(options.serverName);
  const mbedtls_x509_crt* peer = mbedtls_ssl_get_peer_cert(&ssl);
  if (peer == nullptr || (address && !isForAddress(*peer, *address))) {
    return makeError(Errc::kInvalidConfig,
                     "the server's certificate is refused: it is not for " + options.serverName);
  }
  return {};
}

TlsStream::TlsStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsStream::TlsStream(TlsStream&&) noexcept = default;
TlsStream::~TlsStream() = default;

Result<TlsStream> TlsStream::connect(const HttpsOptions& options, Clock::time_point deadline) {
  auto state = std::make_unique<State>();
  state->deadline = deadline;
  TRY(state->configure(options));
  state->socket = TRY(connectToHost(options.host, options.port, deadline));
  state->fd = state->socket.get();
  TRY(state->handshake(options));
  return TlsStream(std::move(state));
}

Result<void> TlsStream::write(std::string_view data) {
  while (!data.empty()) {
    const int sent = TRY(state_->complete([&] {
      return mbedtls_ssl_write(&state_->ssl, reinterpret_cast<const unsigned char*>(data.data()),
                               data.size());
    }));
    if (sent < 0) return tlsError(Errc::kTryAgain, "send", sent);
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::size_t> TlsStream::read(char* data, std::size_t size) {
  const int got = TRY(state_->complete([&] {
    return mbedtls_ssl_read(&state_->ssl, reinterpret_cast<unsigned char*>(data), size);
  }));
  if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || got == 0) return std::size_t{0};
  if (got < 0) return tlsError(Errc::kTryAgain, "receive", got);
  return static_cast<std::size_t>(got);
}

}  // namespace culvert::plugins::multi
