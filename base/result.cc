#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace culvert {
namespace {

Errc errcFor(int err) {
  switch (err) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return Errc::kNotFound;
    case EEXIST:
      return Errc::kAlreadyExists;
    case EBUSY:
    case EAGAIN:
    case EINTR:
      return Errc::kTryAgain;
    default:
      return Errc::kIo;
  }
}

}  // namespace

Error fromErrno(int err, std::string_view doing) {
  Error error;
  error.code = errcFor(err);
  error.sysErrno = err;
  error.message = std::string(doing) + ": " + std::strerror(err);
  return error;
}

Error makeError(Errc code, std::string message, std::string details) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.details = std::move(details);
  return error;
}

}  // namespace culvert
