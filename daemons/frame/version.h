#pragma once

namespace culvert::frame {

/// "0.1.0", of culvertd and culvertctl.
const char* version();

}  // namespace culvert::frame
