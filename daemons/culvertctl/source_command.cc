#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "daemons/culvertctl/command.h"
#include "daemons/sources/config.h"
#include "daemons/sources/etcd.h"
#include "daemons/sources/kube_list.h"
#include "daemons/sources/yaml.h"

namespace culvert::ctl {
namespace {

using namespace sources;
namespace asio = boost::asio;

/// One line of JSON for each thing that happens.
constexpr const char* kUsage =
    "usage: culvertctl source (--config FILE | --type TYPE KEY=VALUE...) [-l SELECTOR] [-f "
    "SELECTOR]\n"
    "    [-n NAMESPACE] [--subresource NAME] VERB\n"
    "  watch KIND...                     until standard input ends\n"
    "  list KIND\n"
    "  get KIND [NAMESPACE/]NAME\n"
    "  create KIND [FILE]                else from standard input\n"
    "  update KIND [FILE]                if its resourceVersion is still the stored one's\n"
    "  patch KIND [NAMESPACE/]NAME JSON\n"
    "  remove KIND [NAMESPACE/]NAME [VERSION]\n"
    "  lease NAMESPACE/NAME SECONDS      (etcd) hold it until standard input ends\n"
    "FILE of --config is culvertd's, or has its source section; KIND is a plural, like nodes";

const std::vector<std::string> kVerbs = {"watch",  "list",  "get",    "create",
                                         "update", "patch", "remove", "lease"};

constexpr Kind kKinds[] = {
    objects::kNode,    objects::kPod,           objects::kNamespace,        objects::kSecret,
    objects::kService, objects::kEndpointSlice, objects::kIpPool,           objects::kAddressBlock,
    objects::kBgpPeer, objects::kBgpFilter,     objects::kBgpConfiguration,
};

struct Arguments {
  Json config = Json::object();
  std::string ns, labels, fields, subresource;
  std::vector<std::string> words;
};

void print(const Json& line) {
  std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

const char* nameOf(Errc code) {
  switch (code) {
    case Errc::kNotFound:
      return "notFound";
    case Errc::kAlreadyExists:
      return "alreadyExists";
    case Errc::kConflict:
      return "conflict";
    case Errc::kInvalidConfig:
      return "invalid";
    case Errc::kTryAgain:
      return "tryAgain";
    case Errc::kDecode:
      return "decode";
    default:
      return "io";
  }
}

const char* nameOf(Status::State state) {
  static constexpr const char* kNames[] = {"connecting", "listing", "live", "stale"};
  return kNames[static_cast<int>(state)];
}

int failed(const Error& error) {
  print({{"error", nameOf(error.code)}, {"message", error.message}});
  return kFailed;
}

Result<Kind> findKind(const std::string& plural) {
  for (const Kind& kind : kKinds) {
    if (kind.plural == plural) return kind;
  }
  return makeError(Errc::kInvalidConfig, "no kind " + plural);
}

Key parseKey(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return {"", text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

class Printer final : public Listener {
 public:
  explicit Printer(std::string_view kind) : kind_(kind) {}
  void onObject(const Key& key, Json&& object) override {
    print(
        {{"event", "object"}, {"kind", kind_}, {"key", key.text()}, {"object", std::move(object)}});
  }
  void onRemoved(const Key& key) override {
    print({{"event", "removed"}, {"kind", kind_}, {"key", key.text()}});
  }
  void onComplete() override { print({{"event", "complete"}, {"kind", kind_}}); }

 private:
  std::string kind_;
};

class Tool {
 public:
  Tool(asio::io_context& io, Source& source, Arguments arguments)
      : io_(io), source_(source), arguments_(std::move(arguments)), timer_(io), input_(io) {}

  Result<void> start() {
    if (word(0) == "watch") return watch();
    if (word(0) == "lease") return lease();
    const Kind kind = TRY(findKind(word(1)));
    const Key key = parseKey(word(2));
    if (word(0) == "list") {
      source_.list(query(kind), [this](const auto& objects) { listed(objects); });
    } else if (word(0) == "get") {
      source_.get(kind, key, done());
    } else if (word(0) == "create") {
      source_.create(kind, TRY(object()), done());
    } else if (word(0) == "update") {
      source_.update(kind, TRY(object()), done());
    } else if (word(0) == "patch") {
      const Json patch = Json::parse(word(3), nullptr, false);
      source_.mergePatch(kind, key, patch, arguments_.subresource, done());
    } else {
      source_.remove(kind, key, word(3), [this](const Result<void>& result) {
        finish(result ? 0 : failed(result.error()));
      });
    }
    return {};
  }

  int result() const { return result_; }

 private:
  std::string word(std::size_t n) const {
    return n < arguments_.words.size() ? arguments_.words[n] : "";
  }
  Query query(const Kind& kind) const {
    return {kind, arguments_.ns, arguments_.fields, arguments_.labels};
  }

  Result<Json> object() const {
    std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    if (!word(2).empty()) text = TRY(readFile(word(2), 16U << 20));
    auto documents = TRY(parseYaml(text));
    if (documents.empty()) return makeError(Errc::kInvalidConfig, "no object");
    return std::move(documents[0].value);
  }

  Source::Done done() {
    return [this](const Result<Json>& result) {
      if (!result) return finish(failed(result.error()));
      print(*result);
      finish(0);
    };
  }
  void listed(const Result<std::vector<Json>>& objects) {
    if (!objects) return finish(failed(objects.error()));
    for (const Json& each : *objects)
      print(each);
    finish(0);
  }
  void finish(int result) {
    result_ = result;
    timer_.cancel();
    if (lease_) {  // the server has to hear that it is given back
      lease_.reset();
      timer_.expires_after(std::chrono::seconds(1));
      return timer_.async_wait([this](const auto&) { io_.stop(); });
    }
    source_.stop();
    io_.stop();
  }

  Result<void> watch() {
    for (std::size_t i = 1; i < arguments_.words.size(); ++i) {
      const Kind kind = TRY(findKind(word(i)));
      printers_.push_back(std::make_unique<Printer>(kind.plural));
      source_.watch(query(kind), *printers_.back());
    }
    input_.assign(::dup(0));
    awaitEnd();
    pollStatus();
    return {};
  }
  Result<void> lease() {
    auto* etcd = dynamic_cast<EtcdSource*>(&source_);
    if (etcd == nullptr) return makeError(Errc::kInvalidConfig, "only etcd has leases");
    lease_ = etcd->lease(parseKey(word(1)), "tool", std::chrono::seconds(std::stoi(word(2))));
    input_.assign(::dup(0));
    awaitEnd();
    pollLease();
    return {};
  }
  void pollLease() {
    if (lease_->isHeld() != held_) print({{"held", held_ = lease_->isHeld()}});
    timer_.expires_after(std::chrono::milliseconds(50));
    timer_.async_wait([this](const auto& error) {
      if (!error) pollLease();
    });
  }
  void awaitEnd() {  // of standard input
    input_.async_read_some(asio::buffer(buffer_), [this](const auto& error, std::size_t) {
      error ? finish(0) : awaitEnd();
    });
  }
  void pollStatus() {
    const Status status = source_.status();
    Json now = {{"event", "status"},
                {"state", nameOf(status.state)},
                {"error", status.lastError},
                {"problems", status.problems}};
    if (now != shown_) print(now);
    shown_ = std::move(now);
    timer_.expires_after(std::chrono::milliseconds(50));
    timer_.async_wait([this](const auto& error) {
      if (!error) pollStatus();
    });
  }

  asio::io_context& io_;
  Source& source_;
  Arguments arguments_;
  asio::steady_timer timer_;
  asio::posix::stream_descriptor input_;
  char buffer_[64] = {};
  std::vector<std::unique_ptr<Printer>> printers_;
  Json shown_;
  std::unique_ptr<EtcdSource::Lease> lease_;
  bool held_ = false;
  int result_ = 0;
};

Result<Json> readConfig(const std::string& file) {
  const std::string text = TRY(readFile(file, 1U << 20));
  auto documents = TRY(parseYaml(text).context(file));
  if (documents.size() != 1) return makeError(Errc::kInvalidConfig, file + ": not one document");
  Json& value = documents[0].value;
  return value.contains("source") ? value["source"] : value;
}

Result<Arguments> parse(const std::vector<std::string>& words) {
  Arguments arguments;
  const std::map<std::string, std::string*> options = {{"-n", &arguments.ns},
                                                       {"-l", &arguments.labels},
                                                       {"-f", &arguments.fields},
                                                       {"--subresource", &arguments.subresource}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    const std::size_t equal = word.find('=');
    if (const auto option = options.find(word); option != options.end()) {
      *option->second = value;
      ++i;
    } else if (word == "--config") {
      arguments.config = TRY(readConfig(value));
      ++i;
    } else if (word == "--type") {
      arguments.config["type"] = value;
      ++i;
    } else if (equal != std::string::npos && arguments.words.empty()) {
      Json& section = arguments.config[arguments.config.value("type", "dir")];
      section[word.substr(0, equal)] = word.substr(equal + 1);
    } else {
      arguments.words.push_back(word);
    }
  }
  return arguments;
}

Result<int> use(Arguments arguments) {
  cni::Problems problems;
  const SourceConfig config = parseSource(cni::ConfigReader(arguments.config, "source", problems));
  TRY(problems.take());
  asio::io_context io;
  const auto source = TRY(openSource(io, config));
  Tool tool(io, *source, std::move(arguments));
  TRY(tool.start());
  io.run();
  return tool.result();
}

Result<int> run(const Invocation& call) {
  Arguments arguments = TRY(parse(call.arguments));
  const auto& words = arguments.words;
  if (words.empty() || std::find(kVerbs.begin(), kVerbs.end(), words[0]) == kVerbs.end())
    return makeError(Errc::kInvalidEnvironment, kUsage);
  const auto result = use(std::move(arguments));
  return result ? *result : failed(result.error());
}

}  // namespace

Command sourceCommand() {
  return {.words = "source",
          .arguments = "VERB ...",
          .help = "Objects as the daemon sees them, without a daemon",
          .choices = kVerbs,
          .run = run,
          .ownOptions = true};
}

}  // namespace culvert::ctl
