#pragma once

#include <span>
#include <string_view>

#include "cni/plugin.h"

namespace culvert::plugins {

/// Every plugin of this executable, main plugins first.
std::span<const cni::Plugin* const> allPlugins();

/// The plugin of this name, or null.
const cni::Plugin* findPlugin(std::string_view name);

}  // namespace culvert::plugins
