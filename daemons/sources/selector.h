#pragma once

#include <string>

#include "daemons/objects/selector.h"
#include "daemons/sources/source.h"

namespace culvert::sources {

/// Which objects a query wants, decided here for sources that cannot ask a server.
class Selector {
 public:
  /// kInvalidConfig for field selectors other than metadata.name and metadata.namespace (=, ==,
  /// !=), and for label selectors that the Kubernetes API would refuse
  /// (objects::Selector::fromQuery).
  static Result<Selector> parse(const Query& query);

  bool matches(const Key& key, const Json& object) const;

 private:
  std::string ns_;
  objects::Selector fields_, labels_;
};

}  // namespace culvert::sources
