"""What the plots of a benchmark's record show, as data: plots.py draws it.

    charts.py RECORD.json        prints the charts as JSON

A chart is {"file", "title", "panels"}, a panel {"kind", "title", "x", "y"} (x and y are labels) and
  lines:    "series": [{"name", "points": [[x, y], ..]}]
  bars:     "bars": [{"name", "value", "share"}], horizontal, from the largest to the smallest
  roofline: "series" of points by name, "roof": {"gb_s", "gmac_s"}
"""

import json
import sys

from record import PROGRAM, Record

SPEED = "tokens/s"
BARS = 9 # kernels that get a bar of their own


def lines(title, x, series):
    """A panel, or None where there are not two places to draw a line between."""
    found = [{"name": name, "points": [[at, value] for at, value in points if value is not None]}
             for name, points in series]
    found = [one for one in found if one["points"]]
    if len({at for one in found for at, _ in one["points"]}) < 2:
        return None
    return {"kind": "lines", "title": title, "x": x, "y": SPEED, "series": found}


def threads_text(threads):
    return f"{threads} thread" + ("" if threads == 1 else "s")


def by_context(record):
    return [lines(f"decode, {threads_text(threads)}", "tokens of context",
                  [(name, [(depth, record.decode(name, threads, depth))
                           for depth in record.depths]) for name in record.subjects])
            for threads in record.threads]


def by_prompt(record):
    return [lines(f"prefill, {threads_text(threads)}", "tokens of prompt",
                  [(name, [(prompt, record.prefill(name, threads, prompt))
                           for prompt in record.prompts]) for name in record.subjects])
            for threads in record.threads]


def by_threads(record):
    prompt, depth = record.prompts[0], record.depths[0]
    return [lines(f"prefill of {prompt} tokens", "threads",
                  [(name, [(threads, record.prefill(name, threads, prompt))
                           for threads in record.threads]) for name in record.subjects]),
            lines(f"decode after {depth} tokens", "threads",
                  [(name, [(threads, record.decode(name, threads, depth))
                           for threads in record.threads]) for name in record.subjects])]


def by_batch(record):
    return [lines(f"decode, {threads_text(threads)}", "texts side by side",
                  [(name, [(batch, record.batch(name, threads, batch))
                           for batch in record.batches]) for name in record.subjects])
            for threads in record.threads]


def phases(profile):
    """[(text, phase)] of a profile that has anything in it."""
    workload = profile["workload"]
    depth = f"after {workload['depth']}"
    named = [("prefill", f"prefill {workload['prompt']}"), ("decode", f"decode {depth}"),
             ("batch", f"batch {workload['batch']} {depth}")]
    return [(text, profile[name]) for name, text in named
            if name in profile and profile[name]["kernels"]]


def time_by_kernel(profile):
    panels = []
    for text, phase in phases(profile):
        bars = [(kernel["name"], kernel["ms"]) for kernel in phase["kernels"]]
        bars.sort(key=lambda bar: -bar[1])
        rest = [("other kernels", sum(ms for _, ms in bars[BARS:])),
                ("waiting at barriers", phase["barriers_ms"]),
                ("outside kernels", phase["start_ms"] + phase["end_ms"] + phase["outside_ms"])]
        bars = sorted(bars[:BARS] + [bar for bar in rest if bar[1] > 0], key=lambda bar: -bar[1])
        panels.append({
            "kind": "bars", "title": f"{text}: {phase['ms']:.2f} ms a {phase['per']}",
            "x": f"ms a {phase['per']}", "y": "",
            "bars": [{"name": name, "value": ms, "share": ms / phase["ms"]} for name, ms in bars]})
    return panels


def roofline(record, profile):
    series = []
    for text, phase in phases(profile):
        points = []
        for kernel in phase["kernels"]:
            read = kernel["weight_bytes"] + kernel["cache_bytes"] + kernel["activation_bytes"]
            if read and kernel["macs"] and kernel["gmac_s"]:
                points.append([kernel["macs"] / read, kernel["gmac_s"], kernel["name"],
                               kernel["share"]])
        if points:
            series.append({"name": text, "points": points})
    threads = profile["threads"]
    roof = {"gb_s": record.read_gb_s(threads), "gmac_s": record.peak_gmac_s(threads)}
    if not series or None in roof.values():
        return [None]
    return [{"kind": "roofline", "title": f"kernels, {threads_text(threads)}",
             "x": "multiply-adds a byte", "y": "GMAC/s", "series": series, "roof": roof}]


def charts(record):
    """(charts, [why one is left out])."""
    cpu = record.data["cpu"]
    wanted = [("context.png", "Speed against context length", by_context(record)),
              ("prompt.png", "Prefill speed against prompt length", by_prompt(record)),
              ("threads.png", "Speed against threads", by_threads(record)),
              ("batch.png", "Speed of all texts together", by_batch(record))]
    left_out = []
    profile = record.profile(max(record.threads))
    if profile:
        threads = threads_text(profile["threads"])
        wanted += [("kernels.png", f"{PROGRAM}: time by kernel, {threads}",
                    time_by_kernel(profile)),
                   ("roofline.png", f"{PROGRAM}: roofline", roofline(record, profile))]
    else:
        left_out.append("kernels.png, roofline.png: no profile in the record (the program lacks "
                        "--profile, or it failed)")
    made = []
    for file, title, panels in wanted:
        panels = [panel for panel in panels if panel]
        if panels:
            made.append({"file": file, "title": f"{title}\n{cpu}", "panels": panels})
        else:
            left_out.append(f"{file}: nothing was measured for it")
    return made, left_out


if __name__ == "__main__":
    found, missing = charts(Record.load(sys.argv[1]))
    print(json.dumps({"charts": found, "left out": missing}, indent=1))
