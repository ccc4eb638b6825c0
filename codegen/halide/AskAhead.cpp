#include "codegen/halide/AskAhead.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"

using namespace ingot;
using namespace Halide;
using namespace Halide::Internal;

namespace {

class Asker final : public IRMutator {
public:
  explicit Asker(const std::vector<AskAhead> &asks) : asks(asks) {}

private:
  /// loopVariable's placeholders, by what encloses them.
  struct Named final : IRMutator {
    const std::vector<std::string> &loops;
    explicit Named(const std::vector<std::string> &loops) : loops(loops) {}
    Expr visit(const Variable *variable) override {
      llvm::StringRef ending = variable->name;
      if (!ending.consume_front("ask_ahead"))
        return variable;
      for (const std::string &loop : llvm::reverse(loops))
        if (llvm::StringRef(loop).ends_with(ending))
          return Variable::make(Int(32), loop);
      return 0;
    }
  };

  Stmt visit(const For *loop) override {
    loops.push_back(loop->name);
    Stmt body = mutate(loop->body);
    for (const AskAhead &ask : asks)
      if (llvm::StringRef(loop->name).ends_with(ask.loop))
        body = Block::make(requests(ask), body);
    loops.pop_back();
    return For::make(loop->name, loop->min, loop->extent, loop->for_type, loop->partition_policy,
                     loop->device_api, body);
  }

  Stmt requests(const AskAhead &ask) const {
    Named named(loops);
    const Expr memory = Variable::make(type_of<struct halide_buffer_t *>(), ask.memory.name());
    std::vector<Stmt> lines;
    for (const Expr &element : ask.elements)
      lines.push_back(
          Evaluate::make(Call::make(ask.memory.type(), Call::prefetch,
                                    {memory, named.mutate(element), 1, 1}, Call::Intrinsic)));
    return IfThenElse::make(named.mutate(ask.when), Block::make(lines));
  }

  const std::vector<AskAhead> &asks;
  std::vector<std::string> loops; ///< that enclose, outermost first
};

} // namespace

void ingot::askAhead(Pipeline &pipeline, const std::vector<AskAhead> &asks) {
  if (!asks.empty())
    pipeline.add_custom_lowering_pass(new Asker(asks)); // which the pipeline owns
}
