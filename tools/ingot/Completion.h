// ingot completion: scripts by which shells complete the words of `ingot`.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ingot {

/// Words that an option or positional may take, besides those that its own check names.
using CompletionChoices = std::map<std::string, std::vector<std::string>>;

/// The script for "bash", "zsh" or "fish", made of the commands and options that `app` has.
std::string completionScript(const CLI::App &app, const std::string &shell,
                             const CompletionChoices &choices);

} // namespace ingot
