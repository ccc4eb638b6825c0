"""Draws the plots of a benchmark's record.

    plots.py RECORD.json DIR        writes PNGs, each under 100 KB, and says which
"""

import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import ticker  # noqa: E402

from charts import charts  # noqa: E402
from record import PROGRAM, Record  # noqa: E402

# Colours that are told apart also by who sees no red or green (Okabe and Ito), with a mark each.
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
MARKS = ["o", "s", "^", "D", "v", "P"]
DPI = 110
PANEL = {"lines": (4.6, 3.6), "bars": (7.4, 3.2), "roofline": (8.0, 5.2)}
LABELLED = 0.04 # share of its phase from which a kernel's point gets its name


def style(names):
    """{name: (colour, mark)}: the program always has the first."""
    order = [PROGRAM] + [name for name in names if name != PROGRAM]
    return {name: (COLORS[i % len(COLORS)], MARKS[i % len(MARKS)]) for i, name in enumerate(order)}


def draw_lines(axes, panel, styles):
    for series in panel["series"]:
        color, mark = styles[series["name"]]
        axes.plot(*zip(*series["points"]), color=color, marker=mark, label=series["name"],
                  linewidth=2.4 if series["name"] == PROGRAM else 1.4, markersize=5)
    ticks = sorted({x for series in panel["series"] for x, _ in series["points"]})
    axes.xaxis.set_major_locator(ticker.FixedLocator(ticks))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def draw_bars(axes, panel, styles):
    bars = panel["bars"]
    values = [bar["value"] for bar in bars]
    axes.barh(range(len(bars)), values, color=COLORS[0])
    axes.set_yticks(range(len(bars)), [bar["name"] for bar in bars], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values) * 1.15)
    for i, bar in enumerate(bars):
        axes.text(bar["value"], i, f" {bar['share']:.0%}", va="center", fontsize=8)
    axes.grid(axis="x", alpha=0.3)


def draw_roofline(axes, panel, styles):
    roof = panel["roof"]
    ridge = roof["gmac_s"] / roof["gb_s"]
    all_x = [point[0] for series in panel["series"] for point in series["points"]]
    low, high = min([*all_x, ridge]) / 2, max([*all_x, ridge]) * 3
    axes.plot([low, ridge, high], [low * roof["gb_s"], roof["gmac_s"], roof["gmac_s"]],
              color="black", linewidth=1.2)
    middle = (low * ridge) ** 0.5
    axes.annotate(f"read bandwidth {roof['gb_s']:.1f} GB/s", (middle, middle * roof["gb_s"]),
                  xytext=(-8, 4), textcoords="offset points", fontsize=8, ha="right")
    axes.annotate(f"8-bit peak {roof['gmac_s']:.0f} GMAC/s", (high, roof["gmac_s"]), xytext=(0, 4),
                  textcoords="offset points", fontsize=8, ha="right")
    for i, series in enumerate(panel["series"]):
        x, y, names, shares = zip(*series["points"])
        axes.scatter(x, y, s=[20 + 260 * share for share in shares], color=COLORS[i],
                     marker=MARKS[i], alpha=0.75, label=series["name"], edgecolors="none")
        for point in series["points"]:
            if point[3] >= LABELLED:
                axes.annotate(point[2], point[:2], xytext=(5, 4), textcoords="offset points",
                              fontsize=6.5, color=COLORS[i])
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.3)


DRAW = {"lines": draw_lines, "bars": draw_bars, "roofline": draw_roofline}


def draw(chart, styles, path):
    panels = chart["panels"]
    kind = panels[0]["kind"]
    width, height = PANEL[kind]
    side_by_side = kind == "lines"
    count = len(panels)
    figure, grid = plt.subplots(1 if side_by_side else count, count if side_by_side else 1,
                                figsize=(width * count if side_by_side else width,
                                         height if side_by_side else height * count + 0.5),
                                squeeze=False, layout="constrained")
    for axes, panel in zip(grid.flat, panels):
        DRAW[kind](axes, panel, styles)
        axes.set_title(panel["title"], fontsize=10)
        axes.set_xlabel(panel["x"], fontsize=9)
        axes.set_ylabel(panel["y"], fontsize=9)
        axes.tick_params(labelsize=8)
    if kind != "bars":
        # A series may be missing in a panel: the legend has those of all.
        shown = {label: handle for axes in grid.flat
                 for handle, label in zip(*axes.get_legend_handles_labels())}
        legend = figure.legend(shown.values(), shown.keys(), loc="outside lower center",
                               ncols=len(shown), fontsize=8)
        for handle in legend.legend_handles:
            if kind == "roofline":
                handle.set_sizes([40])
    figure.suptitle(chart["title"], fontsize=10)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def main():
    record = Record.load(sys.argv[1])
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    made, left_out = charts(record)
    for chart in made:
        path = folder / chart["file"]
        draw(chart, style(record.subjects), path)
        print(f"wrote {path} ({path.stat().st_size // 1000} KB)")
    for text in left_out:
        print(f"left out {text}")


if __name__ == "__main__":
    main()
