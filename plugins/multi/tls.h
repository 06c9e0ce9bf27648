#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "plugins/multi/https.h"

namespace culvert::plugins::multi {

/// A TLS connection over TCP, until a deadline. mbed TLS stays behind it.
class TlsStream {
 public:
  using Clock = std::chrono::steady_clock;

  /// As HttpsClient::connect().
  static Result<TlsStream> connect(const HttpsOptions& options, Clock::time_point deadline);
  TlsStream(TlsStream&&) noexcept;
  ~TlsStream();

  Result<void> write(std::string_view data);
  /// At least one byte, at most `size`; 0 once the peer has closed.
  Result<std::size_t> read(char* data, std::size_t size);

 private:
  struct State;
  explicit TlsStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace culvert::plugins::multi
