#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/netns.h"
#include "base/result.h"
#include "netlink/nft_rule.h"
#include "netlink/nft_value.h"
#include "netlink/socket.h"

/// nf_tables over netlink: objects are plain values, a Transaction collects what to do with them,
/// a Connection commits it or asks what is there. netlink/nft.md tells how and why.
namespace culvert::nft {

/// A comment of a rule, a set or an element: at most this many bytes, printable, without a double
/// quote (nft has no escape for it). Others are refused by commit().
inline constexpr std::size_t kCommentBytesMax = 128;

/// NFPROTO_* (uapi/linux/netfilter.h)
enum class TableFamily : std::uint8_t { kInet = 1, kIp = 2, kNetdev = 5, kBridge = 7, kIp6 = 10 };

struct Table {
  TableFamily family = TableFamily::kInet;
  std::string name;
  auto operator<=>(const Table&) const = default;
};

/// Where a base chain is hooked in: `type nat hook postrouting priority 100; policy accept;`
struct Hook {
  enum class Point : std::uint8_t {  // NF_INET_*; the bridge family numbers its hooks alike
    kPrerouting = 0,
    kInput = 1,
    kForward = 2,
    kOutput = 3,
    kPostrouting = 4,
  };
  enum class Type : std::uint8_t { kFilter, kNat, kRoute };
  enum class Policy : std::uint8_t { kDrop = 0, kAccept = 1 };
  Type type = Type::kFilter;
  Point point = Point::kPrerouting;
  std::int32_t priority = 0;
  Policy policy = Policy::kAccept;
  bool operator==(const Hook&) const = default;
};

struct Chain {
  Table table;
  std::string name;
  std::optional<Hook> hook = {};  // only base chains have one
  bool operator==(const Chain&) const = default;
};

/// A named hash set, or a map if `data` is not empty. Verdict maps must stay small (VerdictMap);
/// data maps and plain sets cost the same at any size.
struct Set {
  Table table;
  std::string name;
  TypeList key;
  TypeList data = {};       // {DataType::kVerdict} for a verdict map
  bool hasTimeout = false;  // elements may expire
  std::string comment = {};
  /// Rules put elements into it (Update), at most this many; 0: they do not. With a
  /// timeout only.
  std::uint32_t dynamicMax = 0;
  bool operator==(const Set&) const = default;
};

/// An element of a set or map. Key and data have the types of their set.
struct Element {
  Value key;
  std::variant<std::monostate, Value, Verdict> data = {};
  std::string comment = {};
  std::chrono::milliseconds timeout{};  // 0: none
  bool operator==(const Element&) const = default;
};

/// Counts the commits to nf_tables in a namespace, whoever made them.
using Generation = std::uint32_t;

/// What to do, in order, all of it or nothing: a value, which does nothing until committed. Objects
/// may be used by later operations of the same transaction.
///
/// `add` is satisfied with what exists already (and leaves it as it is: an element keeps its
/// comment; but one of a map with other data is a failure), `create` fails on it, `remove` fails on
/// what is absent. To replace an element, remove and add it: packets see one change.
class Transaction {
 public:
  enum class Verb : std::uint8_t { kAdd, kCreate, kInsert, kRemove, kFlush, kOwn };
  struct RuleOf {
    Chain chain;
    Rule rule;
    std::uint64_t handle = 0;  // kRemove only
  };
  struct ElementsOf {
    Set set;
    std::vector<Element> elements;
  };
  struct Operation {
    Verb verb;
    std::variant<Table, Chain, RuleOf, Set, ElementsOf> what;
  };

  void add(Table table) { push(Verb::kAdd, std::move(table)); }
  void create(Table table) { push(Verb::kCreate, std::move(table)); }
  /// As add(), and from then on nobody else may change it, nor does `flush ruleset` touch it, while
  /// the Connection that commits this is open; after that it is anybody's again, and there. Fails
  /// with EOPNOTSUPP before Linux 6.9, and for a table that was not made so.
  void own(Table table) { push(Verb::kOwn, std::move(table)); }
  /// With all that is in it.
  void remove(Table table) { push(Verb::kRemove, std::move(table)); }
  /// Removes the rules of all its chains; sets and chains stay.
  void flush(Table table) { push(Verb::kFlush, std::move(table)); }

  void add(Chain chain) { push(Verb::kAdd, std::move(chain)); }
  void create(Chain chain) { push(Verb::kCreate, std::move(chain)); }
  /// Must be empty and not jumped to.
  void remove(Chain chain) { push(Verb::kRemove, std::move(chain)); }
  /// Removes its rules.
  void flush(Chain chain) { push(Verb::kFlush, std::move(chain)); }

  /// At the chain's end.
  void add(const Chain& chain, Rule rule) { push(Verb::kAdd, RuleOf{chain, std::move(rule)}); }
  /// At the chain's beginning.
  void insert(const Chain& chain, Rule rule) {
    push(Verb::kInsert, RuleOf{chain, std::move(rule)});
  }
  void removeRule(const Chain& chain, std::uint64_t handle) {
    push(Verb::kRemove, RuleOf{chain, {}, handle});
  }

  void add(Set set) { push(Verb::kAdd, std::move(set)); }
  void create(Set set) { push(Verb::kCreate, std::move(set)); }
  /// Must not be used by a rule.
  void remove(Set set) { push(Verb::kRemove, std::move(set)); }
  /// Removes its elements.
  void flush(Set set) { push(Verb::kFlush, std::move(set)); }

  /// Elements go into as few messages as they fit. Consecutive calls on one set are one operation.
  void add(const Set& set, Element element) { push(Verb::kAdd, set, std::move(element)); }
  void create(const Set& set, Element element) { push(Verb::kCreate, set, std::move(element)); }
  void remove(const Set& set, Element element) { push(Verb::kRemove, set, std::move(element)); }
  void add(ElementsOf elements) { push(Verb::kAdd, std::move(elements)); }
  void remove(ElementsOf elements) { push(Verb::kRemove, std::move(elements)); }

  /// All that the other one does, after this.
  void append(Transaction other);
  bool empty() const noexcept { return operations_.empty(); }
  const std::vector<Operation>& operations() const noexcept { return operations_; }

  /// What commit() does, as input for `nft -f`.
  std::string toText() const;

 private:
  template <class What>
  void push(Verb verb, What what) {
    operations_.push_back({verb, std::move(what)});
  }
  void push(Verb verb, const Set& set, Element element);

  std::vector<Operation> operations_;
};

/// Each chain that the transaction adds, and how many rules it adds to it.
std::map<std::string, std::size_t> countRules(const Transaction& transaction);

/// One operation in nft's words, without a newline; at most `elementsMax` elements are spelled out.
std::string toText(const Transaction::Operation& operation, std::size_t elementsMax = SIZE_MAX);
std::string toText(const Table& table);
std::string toText(const Set& set, const Element& element);

/// A netlink socket to the nf_tables of the namespace it was opened in. Not thread-safe.
///
/// Two costs to know (kernel 6.18): a commit that fails waits for a grace period of RCU, ten
/// milliseconds or so, so look first and commit what will succeed. And so does closing the socket
/// (or the end of the process) while what was just removed, by anybody, is not yet destroyed: let
/// other work come in between.
///
/// Errors carry the kernel's errno (sysErrno) and extended ACK (details). kNotFound: the table, set
/// or chain asked for is not there. kTryAgain: a listing was interrupted by commits ten times.
class Connection {
 public:
  static Result<Connection> open();
  static Result<Connection> openIn(const NetNs& ns);
  /// As open(), for a process that ends soon after: the sockets are handed over to a child process
  /// instead of closed, if they were used at all (netlink/hand_over.h).
  static Result<Connection> openBriefly();

  Connection(Connection&&) noexcept = default;
  Connection& operator=(Connection&&) = delete;
  ~Connection();

  /// By which a Watch tells our changes from others'.
  std::uint32_t port() const { return socket_.port(); }
  /// For others who speak to netfilter in the same namespace: a copy of the descriptor.
  Result<netlink::Socket> share() { return socket_.share(); }

  /// Commits the transaction; on failure nothing has changed. The error names the first operation
  /// that failed, in nft's words, and the element where the kernel tells. With `expected`, fails
  /// with kTryAgain (ERESTART) if anybody has committed anything since that generation.
  Result<void> commit(const Transaction& transaction, std::optional<Generation> expected = {});

  Result<Generation> generation();

  Result<std::vector<Table>> listTables();
  Result<std::vector<Chain>> listChains(const Table& table);
  /// Only of sets whose types we know (DataType); others are listed with an empty `key`.
  Result<std::vector<Set>> listSets(const Table& table);

  /// Of a rule, maybe of somebody else's, what can be said without understanding all of it.
  struct RuleHandle {
    std::uint64_t handle = 0;
    std::string comment;
    Verdict::Code verdict = Verdict::Code::kReturn;  // of its last unconditional verdict, if any
    std::string target;                              // the chain it jumps or goes to
    std::vector<Value> constants;                    // what it compares with or loads
  };
  Result<std::vector<RuleHandle>> listRules(const Chain& chain);

  /// Whether chains of these tables and names exist, in one system call.
  Result<std::vector<bool>> findChains(const std::vector<Chain>& chains);
  /// As it is, with its hook; nothing if it is not there.
  Result<std::optional<Chain>> findChain(const Chain& chain);

  /// All elements of `set`, whose key and data types must be right, in no order.
  Result<std::vector<Element>> listElements(const Set& set);

  /// Whether an element of `set` is `wanted`. Stops listing at the first that is: costs the same
  /// for any size of set, as long as most of them are.
  Result<bool> anyElement(const Set& set, const std::function<bool(const Element&)>& wanted);

  /// Whether sets (or maps) of these tables and names exist, whatever their types.
  Result<std::vector<bool>> findSets(const std::vector<Set>& sets);

  /// Looks up keys, each in one hash probe, all with one system call: result i belongs to query i.
  struct ElementQuery {
    Set set;
    Value key;
  };
  Result<std::vector<std::optional<Element>>> findElements(
      const std::vector<ElementQuery>& queries);

 private:
  explicit Connection(netlink::Socket socket) : socket_(std::move(socket)) {}

  netlink::Socket socket_;
  bool brief_ = false;
  std::uint32_t nextSequence_ = 1;
  std::unique_ptr<netlink::Socket> second_;  // in the same namespace, for anyElement()
  bool idle_ = true;                         // second_ has no listing under way
};

}  // namespace culvert::nft
