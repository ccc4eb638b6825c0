#include "tools/ingot/Completion.h"

#include "llvm/ADT/StringExtras.h"
#include <CLI/CLI.hpp>

namespace ingot {
namespace {

struct Word {
  std::vector<std::string> names; ///< "--output", "-o"; of a positional: none
  std::string about;
  bool takes_value = false;
  std::vector<std::string> values; ///< empty: a file, or anything
};

struct Command {
  std::string name, about;
  std::vector<Word> options;
  std::vector<Word> positionals;
};

/// What CLI::IsMember says of itself: "TEXT:{exe,object}".
std::vector<std::string> valuesOf(const CLI::Option &option, const CompletionChoices &choices) {
  const auto given = choices.find(option.get_name());
  if (given != choices.end())
    return given->second;
  const std::string type = option.get_type_name();
  const llvm::StringRef list = llvm::StringRef(type).split('{').second.split('}').first;
  std::vector<std::string> values;
  for (llvm::StringRef value : llvm::split(list, ','))
    if (!value.empty())
      values.push_back(value.str());
  return values;
}

Command describe(const CLI::App &app, const CompletionChoices &choices) {
  Command command{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option *option : app.get_options()) {
    Word word;
    for (const std::string &name : option->get_lnames())
      word.names.push_back("--" + name);
    for (const std::string &name : option->get_snames())
      word.names.push_back("-" + name);
    word.about = option->get_description();
    word.takes_value = option->get_items_expected_max() > 0;
    word.values = valuesOf(*option, choices);
    (word.names.empty() ? command.positionals : command.options).push_back(std::move(word));
  }
  return command;
}

std::string shellWord(llvm::StringRef text) {
  std::string out = "'";
  for (char c : text)
    out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// For zsh, where brackets and colons divide a specification.
std::string escaped(llvm::StringRef text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\')
      out += '\\';
    out += c;
  }
  return out;
}

std::string names(const std::vector<Command> &commands) {
  std::vector<std::string> all;
  for (const Command &command : commands)
    all.push_back(command.name);
  return llvm::join(all, " ");
}

std::string bash(const std::string &program, const std::vector<Command> &commands) {
  std::string out = "# Completion of `" + program + "` by bash.\n_" + program + "() {\n";
  out += "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=''\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" = 1 ]; then\n    words=" +
         shellWord(names(commands) + " --help --version") +
         "\n  else\n    case \"${COMP_WORDS[1]} $before\" in\n";
  for (const Command &command : commands)
    for (const Word &option : command.options) {
      if (!option.takes_value)
        continue;
      std::vector<std::string> patterns;
      for (const std::string &name : option.names)
        patterns.push_back("'" + command.name + " " + name + "'");
      // Without words bash completes names of files.
      out += "      " + llvm::join(patterns, "|") +
             ") words=" + shellWord(llvm::join(option.values, " ")) + " ;;\n";
    }
  out += "      *)\n        case \"${COMP_WORDS[1]}\" in\n";
  for (const Command &command : commands) {
    std::vector<std::string> options;
    for (const Word &option : command.options)
      llvm::append_range(options, option.names);
    std::string positional;
    for (const Word &word : command.positionals)
      positional += (positional.empty() ? "" : " ") + llvm::join(word.values, " ");
    out += "          " + command.name +
           ") [[ $word == -* ]] && words=" + shellWord(llvm::join(options, " ")) +
           " || words=" + shellWord(positional) + " ;;\n";
  }
  out += "        esac ;;\n    esac\n  fi\n"
         "  [ -z \"$words\" ] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
         "}\ncomplete -o default -F _" +
         program + " " + program + "\n";
  return out;
}

std::string zsh(const std::string &program, const std::vector<Command> &commands) {
  std::string out = "#compdef " + program + "\n# Completion of `" + program + "` by zsh.\n_" +
                    program + "() {\n  local -a commands=(\n";
  for (const Command &command : commands)
    out += "    " + shellWord(command.name + ":" + command.about) + "\n";
  out += "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
         "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n";
  auto action = [](const Word &word) {
    return word.values.empty() ? std::string("_files") : "(" + llvm::join(word.values, " ") + ")";
  };
  for (const Command &command : commands) {
    out += "    " + command.name + ") _arguments";
    for (const Word &option : command.options)
      for (const std::string &name : option.names)
        out += " \\\n      " + shellWord(name + "[" + escaped(option.about) + "]" +
                                         (option.takes_value ? ":value:" + action(option) : ""));
    for (const Word &word : command.positionals)
      out += " \\\n      " + shellWord(":" + escaped(word.about) + ":" + action(word));
    out += " ;;\n";
  }
  return out + "  esac\n}\n_" + program + " \"$@\"\n";
}

std::string fish(const std::string &program, const std::vector<Command> &commands) {
  std::string out = "# Completion of `" + program + "` by fish.\n";
  for (const Command &command : commands)
    out += "complete -c " + program + " -n __fish_use_subcommand -f -a " + command.name + " -d " +
           shellWord(command.about) + "\n";
  for (const Command &command : commands) {
    const std::string when =
        "complete -c " + program + " -n '__fish_seen_subcommand_from " + command.name + "'";
    for (const Word &option : command.options) {
      out += when;
      for (llvm::StringRef name : option.names)
        out += name.starts_with("--") ? " -l " + name.drop_front(2).str()
                                      : " -s " + name.drop_front(1).str();
      if (option.takes_value)
        out +=
            option.values.empty() ? " -r" : " -x -a " + shellWord(llvm::join(option.values, " "));
      out += " -d " + shellWord(option.about) + "\n";
    }
    for (const Word &word : command.positionals)
      if (!word.values.empty())
        out += when + " -f -a " + shellWord(llvm::join(word.values, " ")) + "\n";
  }
  return out;
}

} // namespace

std::string completionScript(const CLI::App &app, const std::string &shell,
                             const CompletionChoices &choices) {
  std::vector<Command> commands;
  for (const CLI::App *command : app.get_subcommands([](const CLI::App *) { return true; }))
    commands.push_back(describe(*command, choices));
  return (shell == "bash" ? bash : shell == "zsh" ? zsh : fish)(app.get_name(), commands);
}

} // namespace ingot
