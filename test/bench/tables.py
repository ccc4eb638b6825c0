"""Tables of a benchmark's record, in Markdown, as docs/benchmarks.md shows them."""

from record import PROGRAM, ratio


def number(value, form="{:.0f}"):
    return "" if value is None else form.format(value)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def speeds(record):
    head = ["", "threads", *(f"prefill {prompt}" for prompt in record.prompts)]
    head += [f"decode after {depth} (% of read)" for depth in record.depths]
    head += ["first token, ms", "peak RSS, MiB", "own (planned)", "read, GB/s"]
    rows = []
    for threads in record.threads:
        for name in record.subjects:
            row = [name, str(threads)]
            row += [number(record.prefill(name, threads, prompt)) for prompt in record.prompts]
            for depth in record.depths:
                share = record.share_of_read(name, threads, depth)
                row.append(number(record.decode(name, threads, depth))
                           + number(share, " ({:.0%})"))
            row += [number(record.first_token_ms(name, threads)),
                    number(record.peak_rss_mib(name, threads)),
                    number(record.peak_anonymous_mib(name, threads), "{:.1f}")
                    + number(record.planned_mib(name, threads), " ({:.1f})"),
                    number(record.read_gb_s(threads), "{:.1f}")]
            rows.append(row)
    return table(head, rows)


def batches(record):
    """Empty where only one text was timed."""
    if not any(batch > 1 for batch in record.batches):
        return ""
    head = [f"decode after {record.depths[0]}, tokens/s together", "threads",
            *(f"batch {batch}" for batch in record.batches)]
    return table(head, [[name, str(threads),
                         *(number(record.batch(name, threads, batch)) for batch in record.batches)]
                        for threads in record.threads for name in record.subjects])


def ratios(record):
    """Empty where nothing is compared."""
    if PROGRAM not in record.subjects or not record.peers():
        return ""
    texts = [batch for batch in record.batches if batch > 1]
    head = [f"{PROGRAM} / peer", "threads", *(f"prefill {prompt}" for prompt in record.prompts)]
    head += [f"decode after {depth}" for depth in record.depths]
    head += [f"batch {batch}" for batch in texts]
    rows = []
    for peer in record.peers():
        for threads in record.threads:
            pairs = [[record.prefill(name, threads, prompt) for name in (PROGRAM, peer)]
                     for prompt in record.prompts]
            pairs += [[record.decode(name, threads, depth) for name in (PROGRAM, peer)]
                      for depth in record.depths]
            pairs += [[record.batch(name, threads, batch) for name in (PROGRAM, peer)]
                      for batch in texts]
            rows.append([peer, str(threads),
                         *(number(ratio(*pair), "{:.2f}x") for pair in pairs)])
    return table(head, rows)


def report(record):
    """All of it, as one text."""
    data = record.data
    rounds = {0: "A round that was not finished", 1: "One round"}.get(
        data["rounds"], f"Medians of {data['rounds']} interleaved rounds")
    parts = [f"CPU: {data['cpu']}. {data['date']}. {rounds}, tokens/s.\nMade by `{data['command']}`.\n"]
    parts += [part for part in (speeds(record), batches(record), ratios(record)) if part]
    notes = data.get("notes", []) + record.failures()
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join(parts)
