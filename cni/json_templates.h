#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// Keeps every file that touches JSON from compiling nlohmann's classes again: they are compiled in
/// json_templates.cc. Part of precompiled headers; nobody includes it. Halves the time that such a
/// file takes.
extern template class nlohmann::basic_json<>;
extern template class std::vector<nlohmann::json>;
extern template class std::map<std::string, nlohmann::json, std::less<>>;
extern template class nlohmann::detail::iter_impl<const nlohmann::json>;
extern template class nlohmann::detail::serializer<nlohmann::json>;

namespace culvert::cni::json_templates {
using FromString = nlohmann::detail::iterator_input_adapter<std::string::const_iterator>;
using FromBytes = nlohmann::detail::iterator_input_adapter<const char*>;
}  // namespace culvert::cni::json_templates

extern template class nlohmann::detail::lexer<nlohmann::json,
                                              culvert::cni::json_templates::FromString>;
extern template class nlohmann::detail::lexer<nlohmann::json,
                                              culvert::cni::json_templates::FromBytes>;
extern template class nlohmann::detail::parser<nlohmann::json,
                                               culvert::cni::json_templates::FromString>;
extern template class nlohmann::detail::parser<nlohmann::json,
                                               culvert::cni::json_templates::FromBytes>;
