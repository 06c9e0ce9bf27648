#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::objects {

using Labels = std::map<std::string, std::string>;

/// A condition on labels, from any of three languages, compiled once and evaluated without
/// allocation.
///
/// Calico's (its IPPool, BGPPeer and policies): `all()`, `global()`, `has(k)`, `k == 'v'`,
/// `k != 'v'`, `k in {'a', 'b'}`, `k not in {...}`, `k contains 'v'`, `k starts with 'v'`,
/// `k ends with 'v'`, joined by `&&`, `||`, `!` and parentheses; `&&` binds closer than `||`.
/// Strings stand in single or double quotes, without escapes. An empty expression is `all()`.
/// A label that is absent satisfies `!=` and `not in`, and no other comparison.
///
/// Kubernetes' LabelSelector {matchLabels, matchExpressions}: In, NotIn, Exists, DoesNotExist.
///
/// Kubernetes' query (`labelSelector=`): `k=v`, `k==v`, `k!=v`, `k in (a, b)`, `k notin (a, b)`,
/// `k`,
/// `!k`, joined by commas
/// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels).
class Selector {
 public:
  /// Matches everything.
  Selector();

  /// kInvalidConfig: "column 7: ...", counted from 1. Expressions nest up to kMaxDepth and are up
  /// to kMaxBytes long.
  static Result<Selector> parse(std::string_view expression);
  /// kInvalidConfig, naming every problem. {} matches everything.
  static Result<Selector> fromLabelSelector(const nlohmann::json& labelSelector);

  /// kInvalidConfig: what the API would refuse. "" matches everything.
  static Result<Selector> fromQuery(std::string_view query);

  bool matches(const Labels& labels) const { return evaluate(root_, labels); }
  /// Whether it asks for nothing but the values of these keys.
  bool comparesOnly(std::initializer_list<std::string_view> keys) const;
  bool matchesAll() const { return nodes_[root_].op == Op::kAll; }
  /// The expression in canonical form, fully parenthesised; parse(text()) is the same selector.
  std::string text() const { return textOf(root_); }
  bool operator==(const Selector& other) const { return text() == other.text(); }

  static constexpr std::size_t kMaxDepth = 64;
  static constexpr std::size_t kMaxBytes = 16UL * 1024;

  enum class Op : std::uint8_t {
    kAll,
    kHas,
    kIn,
    kNotIn,
    kContains,
    kStartsWith,
    kEndsWith,
    kAnd,
    kOr,
    kNot
  };
  struct Node {
    Op op = Op::kAll;
    std::string key;
    std::vector<std::string> values;    // kIn, kNotIn: sorted; one for the text comparisons
    std::vector<std::size_t> children;  // indices into the nodes; lower than the node's own
  };

 private:
  class Conjunction;
  Selector(std::vector<Node> nodes, std::size_t root);
  bool evaluate(std::size_t index, const Labels& labels) const;
  std::string textOf(std::size_t index) const;

  std::vector<Node> nodes_;
  std::size_t root_ = 0;
};

}  // namespace culvert::objects
