#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace culvert {

/// What the caller can do about a failure. Kernel errnos are folded into these once, in
/// fromErrno(), so no caller compares against EEXIST itself. The CNI code that each one becomes
/// stands behind it (CNI 1.1.0 section 5, "Error"); cni/error.h does the mapping.
enum class Errc {
  kIncompatibleVersion,  // 1
  kUnsupportedField,     // 2
  kUnknownContainer,     // 3
  kInvalidEnvironment,   // 4
  kIo,                   // 5: the system refused
  kDecode,               // 6: not JSON, or not the shape we expect
  kInvalidConfig,        // 7: the operator's configuration is wrong
  kInvalidNetns,         // 8: as libcni's skel uses it
  kTryAgain,             // 11: EBUSY, EAGAIN, a lock held too long, an interrupted dump
  kConflict,             // 11: the object changed since it was read (compare and swap)
  kNotAvailable,         // 50: STATUS, cannot serve ADD
  kLimited,              // 51: STATUS, and existing containers may have limited connectivity
  kNotFound,             // 5: ENOENT, ENODEV, ESRCH: fine for DEL, fatal for CHECK
  kAlreadyExists,        // 5: EEXIST: fine for ensureX(), fatal for createX()
  kCheckFailed,          // 100: CHECK found the kernel's state different from the result
  kExhausted,            // 101: no address is left
  kForeign,              // a delegated plugin's own code, in Error::foreignCode
};

struct Error {
  Errc code = Errc::kIo;
  int sysErrno = 0;     // positive errno, or 0 when no system call failed
  std::string message;  // outermost context first: "add route 10.0.0.0/24: ..."
  std::string details;  // the kernel's own words (extended ACK), or a longer explanation
  int foreignCode = 0;  // only with Errc::kForeign

  /// Prepends what we were trying to do. Call once per layer; library code never logs.
  Error&& wrap(std::string_view doing) && {
    message.insert(0, std::string(doing) + ": ");
    return std::move(*this);
  }
};

/// "doing: strerror(err)" with the Errc that `err` (positive) stands for.
Error fromErrno(int err, std::string_view doing);

Error makeError(Errc code, std::string message, std::string details = {});

/// A value or an Error. Dropping one on the floor is a compile error.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  using Base::Base;
  // NOLINTNEXTLINE(google-explicit-constructor): implicit, so that `return error;` reads
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}

  Result context(std::string_view doing) && {
    if (!this->has_value()) (void)std::move(this->error()).wrap(doing);  // wraps in place
    return std::move(*this);
  }
};

/// Success when `result` succeeded or failed only because the thing is not there.
template <class T>
Result<void> ignoreNotFound(Result<T> result) {
  if (result || result.error().code == Errc::kNotFound) return {};
  return std::move(result).error();
}

/// Runs on past failures and reports them together: DEL, GC and reconcilers try every step.
class FirstError {
 public:
  void note(Result<void> step) {
    if (step) return;
    if (!outcome_) {
      outcome_.error().message += "; " + step.error().message;
      return;
    }
    outcome_ = std::move(step);
  }
  Result<void> take() && { return std::move(outcome_); }

 private:
  Result<void> outcome_;
};

}  // namespace culvert

/// Unwraps a Result or returns its error from the enclosing function.
/// A GNU statement expression: both gcc and clang accept it.
#define TRY(...)                                         \
  __extension__({                                        \
    auto tryResult = (__VA_ARGS__);                      \
    if (!tryResult) return std::move(tryResult).error(); \
    culvert::detail::unwrap(std::move(tryResult));       \
  })

namespace culvert::detail {
template <class T>
T unwrap(Result<T>&& result) {
  return *std::move(result);
}
inline void unwrap(Result<void>&&) {}
}  // namespace culvert::detail
