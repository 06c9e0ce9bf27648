#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/objects/kind.h"

namespace culvert::sources {

using objects::Key;
using objects::Kind;
using Json = nlohmann::json;

/// Hears what becomes of the objects of one query. Called on the loop's thread only, never from
/// within a call to the Source. Whatever the source and however often its connection broke, the
/// calls add up to the truth: an object that went away while nobody looked is reported as removed
/// once the next complete list is there, and an unchanged one is not reported again.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Added or changed: the whole object, with metadata.name, and metadata.resourceVersion for a
  /// later update().
  virtual void onObject(const Key& key, Json&& object) = 0;
  virtual void onRemoved(const Key& key) = 0;
  /// Everything that was there at the start has been reported. Once in a listener's life.
  virtual void onComplete() = 0;
};

/// What is watched: all objects of a kind, or fewer.
struct Query {
  Kind kind;
  std::string ns;             // a namespace; empty: all
  std::string fieldSelector;  // "metadata.name=a", the only form every source knows
  std::string labelSelector;  // as the Kubernetes API takes it; sources other than kubernetes know
                              // equality and set forms
};

/// How a source is doing, for `culvertctl status`, metrics and readiness.
struct Status {
  enum class State { kConnecting, kListing, kLive, kStale };  // kStale: was live, is cut off
  std::string name;                                           // "kubernetes https://10.0.0.1:6443"
  State state = State::kConnecting;
  std::chrono::system_clock::time_point since;  // of the state
  std::string lastError;                        // empty when live
  std::vector<std::string>
      problems;  // e.g. "nodes.yaml:12: not YAML: ..., keeping the last good objects"
};

/// Kubernetes-shaped objects from somewhere, with list, watch and resume. All of it asynchronous
/// on one Boost.Asio io_context; nothing blocks; callbacks come from the loop. Names of things,
/// semantics of resourceVersion and of RFC 7386 merge patches are those of the Kubernetes API.
class Source {
 public:
  virtual ~Source() = default;

  /// Starts to watch; the first calls come later, from the loop. `listener` must live until the
  /// source is stopped.
  virtual void watch(const Query& query, Listener& listener) = 0;
  /// Ends all watches and open requests, whose callbacks are not called any more.
  virtual void stop() = 0;

  using Done = std::function<void(Result<Json>)>;  // the object as it is stored now
  using DoneList = std::function<void(Result<std::vector<Json>>)>;
  using DoneRemove = std::function<void(Result<void>)>;

  /// Errors of all of these: kNotFound; kAlreadyExists (create); kConflict: `resourceVersion` is
  /// not the stored one's; kInvalidConfig: refused as invalid; kTryAgain: the source cannot be
  /// reached now; kIo: refused otherwise, and trying again does not help.
  virtual void get(const Kind& kind, const Key& key, Done done) = 0;
  virtual void list(const Query& query, DoneList done) = 0;
  virtual void create(const Kind& kind, Json object, Done done) = 0;
  /// Replaces the object if its metadata.resourceVersion is still the stored one (compare and
  /// swap).
  virtual void update(const Kind& kind, Json object, Done done) = 0;
  /// RFC 7386. `subresource` is "status" or empty; sources without subresources ignore it.
  virtual void mergePatch(const Kind& kind, const Key& key, Json patch,
                          const std::string& subresource, Done done) = 0;
  /// Only that version if `resourceVersion` is not empty.
  virtual void remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
                      DoneRemove done) = 0;

  virtual Status status() const = 0;
};

}  // namespace culvert::sources
