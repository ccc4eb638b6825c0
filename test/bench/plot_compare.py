"""Draws what `ingot compare --json` found: the error of every launch, from the first to the last.

    plot_compare.py COMPARE.json OUT.png
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from plots import COLORS, DPI, MARKS  # noqa: E402


def operation(kernel):
    """What kinds of launches are told apart: "linear_576x576_u4g32_add_t8" is "linear add"."""
    return " ".join(word for word in kernel.split("_") if word.isalpha())


def main():
    with open(sys.argv[1]) as file:
        found = json.load(file)
    values = found["values"]
    kinds = list(dict.fromkeys(operation(value["kernel"]) for value in values))
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for i, kind in enumerate(kinds):
        points = [(at, max(value["relative_error"], 1e-9)) for at, value in enumerate(values)
                  if operation(value["kernel"]) == kind]
        axes.plot(*zip(*points), MARKS[i % len(MARKS)], color=COLORS[i % len(COLORS)], label=kind,
                  markersize=4)
    axes.axhline(found["bound"], color="black", linewidth=1, linestyle="--", label="bound")
    if found["first"] is not None:
        value = values[found["first"]]
        axes.annotate(f"layer {value['layer']}: {value['kernel']}",
                      (found["first"], max(value["relative_error"], 1e-9)), fontsize=8,
                      xytext=(0, 8), textcoords="offset points", ha="center")
    # A tick where some of the layers begin.
    begins = {}
    for at, value in enumerate(values):
        begins.setdefault(value["layer"], at)
    every = -(-len(begins) // 12)
    shown = [(layer, at) for i, (layer, at) in enumerate(begins.items())
             if layer == "output" or (i % every == 0 and i + every // 2 < len(begins) - 1)]
    axes.set_xticks([at for _, at in shown], [layer for layer, _ in shown], fontsize=8)
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 10) # room for what is annotated
    axes.set_xlabel("layer")
    axes.set_ylabel("relative error")
    axes.set_title(f"A: {found['a']}\nB: {found['b']}", fontsize=8, loc="left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(sys.argv[2], dpi=DPI)


if __name__ == "__main__":
    main()
