// Encoding in three steps: special tokens are cut out of the text, what is left is split into
// words, and in each word the pair of neighbours with the best merge is joined until no merge
// applies (Sennrich et al. 2016, algorithm 1, over bytes).
#include "runtime/text/tokenizer.h"

#include <string.h>

namespace {

enum Class : uint8_t { other, letter, number, white_space };
enum Kind : uint8_t { user_defined = 4 };
constexpr uint64_t free_slot = ~uint64_t(0);

/// A piece of a word; pieces are linked in text order.
struct Symbol {
  int32_t previous, next; ///< indices, -1 at the ends
  int32_t id;             ///< -1: joined to the one before it, or a byte without a token
};

/// A merge that was possible when it was entered; stale when its two pieces have changed since.
struct Candidate {
  uint32_t rank;
  int32_t left; ///< index of the left piece: equal ranks merge from the left
  int32_t left_id, right_id;
};

bool before(const Candidate &a, const Candidate &b) {
  return a.rank != b.rank ? a.rank < b.rank : a.left < b.left;
}

/// A binary heap, the best candidate first.
struct Heap {
  Candidate *items;
  size_t size = 0;

  void push(const Candidate &candidate) {
    size_t at = size++;
    while (at && before(candidate, items[(at - 1) / 2])) {
      items[at] = items[(at - 1) / 2];
      at = (at - 1) / 2;
    }
    items[at] = candidate;
  }
  Candidate pop() {
    const Candidate best = items[0];
    const Candidate moved = items[--size];
    size_t at = 0;
    for (;;) {
      size_t child = 2 * at + 1;
      if (child >= size)
        break;
      if (child + 1 < size && before(items[child + 1], items[child]))
        ++child;
      if (!before(items[child], moved))
        break;
      items[at] = items[child];
      at = child;
    }
    items[at] = moved;
    return best;
  }
};

struct CodePoint {
  uint32_t value;
  uint32_t bytes;
};

/// The code point at `p`; a byte that starts none stands for itself, as U+FFFD.
CodePoint decode(const uint8_t *p, const uint8_t *end) {
  const uint32_t first = *p;
  if (first < 0x80)
    return {first, 1};
  const uint32_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || end - p < static_cast<ptrdiff_t>(length))
    return {0xfffd, 1};
  uint32_t value = first & (0xff >> (length + 1));
  for (uint32_t i = 1; i < length; ++i) {
    if ((p[i] & 0xc0) != 0x80)
      return {0xfffd, 1};
    value = value << 6 | (p[i] & 0x3f);
  }
  const bool overlong = value < (length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u);
  if (overlong || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
    return {0xfffd, 1};
  return {value, length};
}

class Encoder {
public:
  Encoder(const ingot::manifest::Tokenizer &tables, bool parse_special, void *scratch,
          size_t text_bytes, int32_t *out, int32_t capacity)
      : tables(tables), parse_special(parse_special), symbols(static_cast<Symbol *>(scratch)),
        out(out), capacity(capacity) {
    heap.items = reinterpret_cast<Candidate *>(symbols + text_bytes);
    each_number_alone = tables.pre() && !strcmp(tables.pre()->c_str(), "smollm");
    mask = tables.merge_keys()->size() - 1;
  }

  /// Cuts special tokens from number `index` on, longest first, out of the text.
  void encode(const uint8_t *begin, const uint8_t *end, uint32_t index) {
    const uint32_t count = tables.special() ? tables.special()->size() : 0;
    while (begin != end && index < count) {
      const int32_t id = tables.special()->Get(index);
      const uint32_t start = tables.token_offsets()->Get(id);
      const uint32_t length = tables.token_offsets()->Get(id + 1) - start;
      const uint8_t *found = nullptr;
      if (length && (parse_special || tables.token_kind()->Get(id) == user_defined))
        found = static_cast<const uint8_t *>(
            memmem(begin, end - begin, tables.token_bytes()->data() + start, length));
      if (!found) {
        ++index;
        continue;
      }
      encode(begin, found, index + 1);
      emit(id);
      begin = found + length;
    }
    encode_words(begin, end);
  }

  int64_t count = 0;

private:
  void emit(int32_t id) {
    if (count < capacity)
      out[count] = id;
    ++count;
  }

  Class class_of(uint32_t code_point) const {
    const uint32_t block = tables.class_index()->Get(code_point >> 8);
    return static_cast<Class>(tables.class_blocks()->Get(block * 256 + (code_point & 255)));
  }

  /// The end of the run of `wanted` that starts at `p`.
  const uint8_t *run_end(const uint8_t *p, const uint8_t *end, Class wanted) const {
    while (p != end) {
      const CodePoint c = decode(p, end);
      if (class_of(c.value) != wanted)
        break;
      p += c.bytes;
    }
    return p;
  }

  /// The end of the word at `p`: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|
  /// \s+(?!\S)|\s+ (Radford et al. 2019: the splitter that came with GPT-2).
  const uint8_t *word_end(const uint8_t *p, const uint8_t *end) const {
    if (*p == '\'' && end - p > 1) {
      const uint8_t a = p[1], b = end - p > 2 ? p[2] : 0;
      if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return p + 2;
      if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return p + 3;
    }
    const uint8_t *body = p + (*p == ' ' && end - p > 1);
    const Class kind = class_of(decode(body, end).value);
    if (kind != white_space)
      return run_end(body, end, kind);
    // White space before a word leaves its last character to the word.
    const uint8_t *stop = run_end(p, end, white_space);
    if (stop == end)
      return stop;
    const uint8_t *last = p;
    for (const uint8_t *at = p; at != stop; at += decode(at, stop).bytes)
      last = at;
    return last == p ? stop : last;
  }

  void encode_words(const uint8_t *begin, const uint8_t *end) {
    while (begin != end) {
      // Some models take every digit by itself before anything else is split.
      const uint8_t *section = end;
      if (each_number_alone) {
        section = begin;
        while (section != end) {
          const CodePoint c = decode(section, end);
          if (class_of(c.value) == number) {
            if (section == begin)
              section += c.bytes;
            break;
          }
          section += c.bytes;
        }
      }
      while (begin != section) {
        const uint8_t *stop = word_end(begin, section);
        encode_word(begin, static_cast<int32_t>(stop - begin));
        begin = stop;
      }
    }
  }

  /// The slot of the merge of two tokens, or of nothing (a free one).
  uint32_t slot_of(int32_t left, int32_t right) const {
    const auto &keys = *tables.merge_keys();
    const uint64_t key = uint64_t(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
    uint64_t slot = ingot_tokenizer_merge_slot(key, mask);
    for (;;) {
      const uint64_t found = keys.Get(static_cast<uint32_t>(slot));
      if (found == key || found == free_slot)
        return static_cast<uint32_t>(slot);
      slot = (slot + 1) & mask;
    }
  }

  /// Enters the merge of the piece `left` with the next one, where there is such a merge.
  void consider(int32_t left) {
    const int32_t right = symbols[left].next;
    if (right < 0)
      return;
    const int32_t left_id = symbols[left].id, right_id = symbols[right].id;
    const uint32_t slot = slot_of(left_id, right_id);
    if (tables.merge_keys()->Get(slot) != free_slot)
      heap.push({tables.merge_ranks()->Get(slot), left, left_id, right_id});
  }

  void encode_word(const uint8_t *word, int32_t length) {
    for (int32_t i = 0; i < length; ++i) {
      // A byte without a token is in the way of merges, and then left out.
      symbols[i] = {i - 1, i + 1 < length ? i + 1 : -1, tables.byte_tokens()->Get(word[i])};
    }
    heap.size = 0;
    for (int32_t i = 0; i + 1 < length; ++i)
      consider(i);
    while (heap.size) {
      const Candidate best = heap.pop();
      Symbol &left = symbols[best.left];
      if (left.id != best.left_id || left.next < 0 || symbols[left.next].id != best.right_id)
        continue;
      Symbol &right = symbols[left.next];
      left.id = tables.merge_results()->Get(slot_of(best.left_id, best.right_id));
      right.id = -1;
      left.next = right.next;
      if (left.next >= 0)
        symbols[left.next].previous = best.left;
      consider(best.left);
      if (left.previous >= 0)
        consider(left.previous);
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
      if (symbols[i].id >= 0)
        emit(symbols[i].id);
  }

  const ingot::manifest::Tokenizer &tables;
  const bool parse_special;
  Symbol *symbols; // [text bytes]
  Heap heap;       // [3 * text bytes]: at most two candidates enter for each that leaves
  int32_t *out;
  int32_t capacity;
  bool each_number_alone;
  uint64_t mask;
};

} // namespace

size_t ingot_tokenizer_scratch_bytes(size_t text_bytes) {
  return (text_bytes + 1) * (sizeof(Symbol) + 3 * sizeof(Candidate)) + 64;
}

int32_t ingot_tokenizer_encode(const ingot_tokenizer *tokenizer, const char *text, size_t bytes,
                               bool parse_special, void *scratch, size_t scratch_bytes,
                               int32_t *out, int32_t capacity) {
  if (!bytes)
    return 0;
  if (scratch_bytes < ingot_tokenizer_scratch_bytes(bytes) || bytes > INT32_MAX / 2)
    return -1;
  Encoder encoder(*tokenizer->tables, parse_special, scratch, bytes, out, capacity);
  const auto *begin = reinterpret_cast<const uint8_t *>(text);
  encoder.encode(begin, begin + bytes, 0);
  return static_cast<int32_t>(encoder.count);
}

int32_t ingot_tokenizer_piece(const ingot_tokenizer *tokenizer, int32_t id, const char **bytes) {
  const auto *offsets = tokenizer->tables->token_offsets();
  if (id < 0 || static_cast<uint32_t>(id) + 1 >= offsets->size())
    return -1;
  const uint32_t start = offsets->Get(id);
  *bytes = reinterpret_cast<const char *>(tokenizer->tables->token_bytes()->data()) + start;
  return static_cast<int32_t>(offsets->Get(id + 1) - start);
}
