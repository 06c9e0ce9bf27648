#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::cni {

/// The released versions of the CNI specification, oldest first.
enum class Version { k010, k020, k030, k031, k040, k100, k110 };

inline constexpr std::array<std::string_view, 7> kVersionTexts{"0.1.0", "0.2.0", "0.3.0", "0.3.1",
                                                               "0.4.0", "1.0.0", "1.1.0"};
inline constexpr Version kNewest = Version::k110;

/// Exact match only: "0.3.2" is no version.
std::optional<Version> parseVersion(std::string_view text);
std::string_view versionText(Version version);

/// `supportedVersions` as VERSION prints it, from `oldest` on: {"0.1.0","0.2.0",...}.
std::string versionList(Version oldest);

}  // namespace culvert::cni
