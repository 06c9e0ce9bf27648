#include "daemons/frame/version.h"

namespace culvert::frame {

const char* version() {
  return CULVERT_VERSION;
}

}  // namespace culvert::frame
