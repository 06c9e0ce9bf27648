#include "daemons/culvertctl/command.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "daemons/culvertctl/client.h"

namespace culvert::ctl {

using nlohmann::json;

Result<json> Invocation::ask(const std::string& method, const std::string& path,
                             const json& body) const {
  return request(socket, method, path, body);
}

void Invocation::show(const json& value, const std::string& table) const {
  std::string text = table;
  if (format == Format::kJson)
    text = value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  if (format == Format::kYaml) text = yaml(value);
  (void)std::fputs(text.c_str(), stdout);
}

Command showTable(TableSpec spec) {
  Command command{spec.words, "", spec.help, {}, {}};
  command.run = [spec = std::move(spec)](const Invocation& call) -> Result<int> {
    const json answer = TRY(call.ask("GET", spec.path));
    std::vector<std::string> titles;
    for (const Column& column : spec.columns)
      titles.push_back(column.title);
    Table table(titles);
    for (const json& row : answer.value(json::json_pointer(spec.rows), json::array())) {
      std::vector<std::string> cells;
      for (const Column& column : spec.columns)
        cells.push_back(cell(row.value(json::json_pointer(column.pointer), json())));
      table.add(std::move(cells));
    }
    call.show(answer, table.text(call.colours));
    return kOk;
  };
  return command;
}

const Command* findCommand(const std::vector<std::string>& arguments) {
  const Command* best = nullptr;
  for (const Command& command : commands()) {
    std::istringstream stream(command.words);
    const std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
    if (words.size() > arguments.size()) continue;
    if (!std::equal(words.begin(), words.end(), arguments.begin())) continue;
    if (best == nullptr || command.words.size() > best->words.size()) best = &command;
  }
  return best;
}

std::string usage() {
  std::string text =
      "Usage: culvertctl [-o table|json|yaml] [--socket PATH] COMMAND\n\n"
      "Asks the culvertd of this node.\n\n";
  Table table({"command", ""});
  for (const Command& command : commands()) {
    table.add({"  " + command.words + (command.arguments.empty() ? "" : " " + command.arguments),
               command.help});
  }
  const std::string all = table.text(false);
  return text + all.substr(all.find('\n') + 1) +
         "\n--socket: default $CULVERT_CONTROL_SOCKET, else /run/culvert/culvertd.sock\n"
         "--force: with ipam release, also what is in use\n"
         "Exit code: 0 all is well, 1 degraded (status), 2 not running or an error;\n"
         "services trace: 0 forward, 3 reject, 4 drop, 5 no Service's\n";
}

}  // namespace culvert::ctl
