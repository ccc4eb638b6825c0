// The process that renders, and how its results come back (Jinja.h).
#include "frontend/chat/Jinja.h"

#include "support/Error.h"

#include "llvm/Support/JSON.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
// frontend/chat/jinja/src/lib.rs
char *ingot_jinja_render(const char *request, size_t request_bytes, int32_t *failed, size_t *bytes);
void ingot_jinja_free(char *data, size_t bytes);
}

namespace ingot {
namespace {

constexpr size_t max_template_bytes = 1 << 18;
constexpr size_t max_reply_bytes = size_t(1) << 26;
constexpr rlim_t extra_memory_bytes = rlim_t(1) << 28; ///< on top of what the compiler has mapped
constexpr rlim_t cpu_seconds = 2;                      ///< for all conversations

llvm::Error templateError(const llvm::Twine &message, const llvm::Twine &help = "") {
  return inputError("", "chat template", message, help);
}

std::string requestOf(const ChatTemplate &source, const Conversation &conversation) {
  llvm::json::Array messages;
  for (const ChatMessage &message : conversation.messages)
    messages.push_back(llvm::json::Object{{"role", message.role}, {"content", message.content}});
  std::string out;
  llvm::raw_string_ostream(out) << llvm::json::Value(
      llvm::json::Object{{"template", source.text},
                         {"bos", source.bos},
                         {"eos", source.eos},
                         {"date", source.date},
                         {"add_generation_prompt", conversation.generation_prompt},
                         {"messages", std::move(messages)}});
  return out;
}

bool writeAll(int file, const void *data, size_t bytes) {
  const char *at = static_cast<const char *>(data);
  while (bytes) {
    const ssize_t written = write(file, at, bytes);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

void limit(__rlimit_resource what, rlim_t amount) {
  const rlimit value{amount, amount};
  setrlimit(what, &value);
}

/// Bytes of address space in use; 0 where that cannot be known.
rlim_t mappedBytes() {
  unsigned long long pages = 0;
  if (FILE *file = fopen("/proc/self/statm", "re")) {
    if (fscanf(file, "%llu", &pages) != 1)
      pages = 0;
    fclose(file);
  }
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

/// What the process that renders does: for each request a byte (1: failed), the number of bytes
/// (uint32) and the bytes. Never returns.
[[noreturn]] void renderAndExit(const std::vector<std::string> &requests, int out, rlim_t mapped) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The compiler's handlers would remove the compiler's files.
  for (int signal_number = 1; signal_number < NSIG; ++signal_number)
    signal(signal_number, SIG_DFL);
  if (const int null = open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0)
    dup2(null, STDERR_FILENO);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, cpu_seconds);
  if (mapped)
    limit(RLIMIT_AS, mapped + extra_memory_bytes);
  for (const std::string &request : requests) {
    int32_t failed = 0;
    size_t bytes = 0;
    char *text = ingot_jinja_render(request.data(), request.size(), &failed, &bytes);
    const uint8_t mark = failed ? 1 : 0;
    const uint32_t size = static_cast<uint32_t>(bytes);
    if (!writeAll(out, &mark, 1) || !writeAll(out, &size, sizeof size) ||
        !writeAll(out, text, bytes))
      _exit(1);
    ingot_jinja_free(text, bytes);
  }
  _exit(0);
}

/// All that comes from `file`, at most `max_reply_bytes`.
std::string readAll(int file) {
  std::string out;
  char chunk[1 << 16];
  for (;;) {
    const ssize_t got = read(file, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0 || out.size() + static_cast<size_t>(got) > max_reply_bytes)
      return out;
    out.append(chunk, static_cast<size_t>(got));
  }
}

llvm::Error explain(int status) {
  const int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal_number == SIGXCPU || signal_number == SIGKILL)
    return templateError("takes more than " + llvm::Twine(uint64_t(cpu_seconds)) +
                         " seconds to render");
  if (signal_number == SIGPIPE)
    return templateError("gives too much text");
  // The engine aborts where it gets no memory; built with AddressSanitizer, it exits.
  if (signal_number == SIGABRT || signal_number == 0)
    return templateError("takes more than " + grouped(extra_memory_bytes >> 20) +
                         " MiB of memory to render");
  return templateError("crashes the template engine (signal " + llvm::Twine(signal_number) + ")");
}

} // namespace

llvm::Expected<std::vector<Rendering>>
renderConversations(const ChatTemplate &source, llvm::ArrayRef<Conversation> conversations) {
  if (source.text.size() > max_template_bytes)
    return templateError("has " + grouped(source.text.size()) + " bytes",
                         "at most " + grouped(max_template_bytes) + " are supported");
  for (llvm::StringRef text : {source.text, source.bos, source.eos})
    if (!llvm::json::isUTF8(text))
      return templateError("is not UTF-8, or inserts a token that is not");
  std::vector<std::string> requests;
  for (const Conversation &conversation : conversations)
    requests.push_back(requestOf(source, conversation));

  int ends[2];
  if (pipe2(ends, O_CLOEXEC))
    return templateError("cannot be rendered: no pipe: " + llvm::Twine(strerror(errno)));
  const rlim_t mapped = mappedBytes();
  const pid_t child = fork();
  if (child == 0)
    renderAndExit(requests, ends[1], mapped);
  close(ends[1]);
  if (child < 0) {
    const int reason = errno;
    close(ends[0]);
    return templateError("cannot be rendered: no process: " + llvm::Twine(strerror(reason)));
  }
  const std::string reply = readAll(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::vector<Rendering> out;
  size_t at = 0;
  while (reply.size() - at >= 1 + sizeof(uint32_t)) {
    uint32_t size;
    memcpy(&size, reply.data() + at + 1, sizeof size);
    const bool failed = reply[at] != 0;
    at += 1 + sizeof size;
    if (reply.size() - at < size)
      break;
    out.push_back({failed, reply.substr(at, size)});
    at += size;
  }
  if (out.size() != conversations.size())
    return explain(status);
  return out;
}

} // namespace ingot
