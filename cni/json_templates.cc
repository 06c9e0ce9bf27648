#include "cni/json_templates.h"

using culvert::cni::json_templates::FromBytes;
using culvert::cni::json_templates::FromString;

template class nlohmann::basic_json<>;
template class std::vector<nlohmann::json>;
template class std::map<std::string, nlohmann::json, std::less<>>;
template class nlohmann::detail::iter_impl<const nlohmann::json>;
template class nlohmann::detail::serializer<nlohmann::json>;
template class nlohmann::detail::lexer<nlohmann::json, FromString>;
template class nlohmann::detail::lexer<nlohmann::json, FromBytes>;
template class nlohmann::detail::parser<nlohmann::json, FromString>;
template class nlohmann::detail::parser<nlohmann::json, FromBytes>;
