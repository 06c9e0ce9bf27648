#include <algorithm>
#include <sstream>

#include "base/text.h"
#include "daemons/culvertctl/command.h"

namespace culvert::ctl {
namespace {

std::vector<std::string> wordsOf(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

/// What may follow each beginning of a command: "" -> "config status ...", "config" -> "check".
std::vector<std::pair<std::string, std::vector<std::string>>> continuations() {
  std::vector<std::pair<std::string, std::vector<std::string>>> list;
  const auto note = [&](const std::string& prefix, const std::string& next) {
    auto at = std::find_if(list.begin(), list.end(), [&](auto& e) { return e.first == prefix; });
    if (at == list.end()) at = list.insert(list.end(), {prefix, {}});
    auto& nexts = at->second;
    if (std::find(nexts.begin(), nexts.end(), next) == nexts.end()) nexts.push_back(next);
  };
  for (const Command& command : commands()) {
    std::vector<std::string> before;
    for (const std::string& word : wordsOf(command.words)) {
      note(joined(before, " "), word);
      before.push_back(word);
    }
    for (const std::string& choice : command.choices)
      note(command.words, choice);
  }
  return list;
}

std::string cases(const char* reply) {
  std::string text;
  for (const auto& [prefix, nexts] : continuations())
    text += "    '" + prefix + "') " + reply + "'" + joined(nexts, " ") + "' ;;\n";
  return text;
}

std::string bash() {
  return R"(_culvertctl() {
  local word="${COMP_WORDS[COMP_CWORD]}" before=() i
  COMPREPLY=()
  case "${COMP_WORDS[COMP_CWORD-1]}" in
    -o|--output) COMPREPLY=($(compgen -W 'table json yaml' -- "$word")); return ;;
    --socket) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      -o|--output|--socket) ((i++)) ;;
      -*) ;;
      *) before+=("${COMP_WORDS[i]}") ;;
    esac
  done
  local words=
  case "${before[*]}" in
)" + cases("words=") +
         R"(    *) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  COMPREPLY=($(compgen -W "$words -o --socket --help" -- "$word"))
}
complete -F _culvertctl culvertctl
)";
}

std::string zsh() {
  return R"(#compdef culvertctl
_culvertctl() {
  local -a before choices
  local i
  case "${words[CURRENT-1]}" in
    -o|--output) compadd table json yaml; return ;;
    --socket) _files; return ;;
  esac
  for ((i = 2; i < CURRENT; i++)); do
    case "${words[i]}" in
      -o|--output|--socket) ((i++)) ;;
      -*) ;;
      *) before+=("${words[i]}") ;;
    esac
  done
  local next=
  case "${before[*]}" in
)" + cases("next=") +
         R"(    *) _files; return ;;
  esac
  compadd -- ${=next} -o --socket --help
}
compdef _culvertctl culvertctl
)";
}

std::string fish() {
  std::string text =
      "complete -c culvertctl -f\n"
      "complete -c culvertctl -s o -l output -x -a 'table json yaml'\n"
      "complete -c culvertctl -l socket -r\n"
      "function __culvertctl_before\n"
      "  set -l words (commandline -opc)\n"
      "  string match -q -- \"$argv\" \"$words[2..-1]\"\n"
      "end\n";
  for (const auto& [prefix, nexts] : continuations()) {
    text += "complete -c culvertctl -n \"__culvertctl_before '" + prefix + "'\" -a '" +
            joined(nexts, " ") + "'\n";
  }
  return text;
}

}  // namespace

Result<std::string> completion(const std::string& shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  return makeError(Errc::kInvalidEnvironment, "completion: say bash, zsh or fish");
}

}  // namespace culvert::ctl
