"""ingot inspect --html in a browser: what --json says is drawn, nothing is loaded, no script fails.

    inspect_html.py INGOT BROWSER FILE.. FOLDER
"""

import html.parser
import json
import pathlib
import re
import subprocess
import sys

ingot, browser, *files, folder = sys.argv[1:]
folder = pathlib.Path(folder)
folder.mkdir(parents=True, exist_ok=True)


class Page(html.parser.HTMLParser):
    """How many rows each table has, what stands in cells, and what is drawn."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.buffers, self.blocks, self.title, self.text = {}, 0, 0, "", ""
        self.table, self.inside = None, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert not any(attributes.get(name) for name in ("src", "href")), (tag, attributes)
        if tag not in ("meta", "input", "br"):
            self.inside.append(tag)
        if tag == "table":
            self.table = attributes["id"]
            self.rows[self.table] = 0
        self.rows[self.table] = self.rows.get(self.table, 0) + (tag == "tr" and "tbody" in self.inside)
        self.buffers += attributes.get("class") == "buffer"
        self.blocks += "block" in attributes.get("class", "").split()

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass
        if tag == "table":
            self.table = None

    def handle_data(self, data):
        if "title" in self.inside:
            self.title += data
        if "script" not in self.inside and "style" not in self.inside:
            self.text += data + "\n"


def render(file):
    """(what --json says, the page when its script has run)"""
    out = folder / "page.html"
    subprocess.run([ingot, "inspect", file, "--html", out], check=True)
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)[a-z]+\.", out.read_text())
    done = subprocess.run([browser, "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
                           out.resolve().as_uri()], text=True, capture_output=True, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    what = json.loads(subprocess.check_output([ingot, "inspect", file, "--json"]))
    return what, Page(done.stdout)


for file in files:
    what, page = render(file)
    assert page.title == f"{what['name']} - ingot inspect", page.title
    tensors = what["weights" if what["kind"] == "program" else "tensors"]
    assert page.rows["weight-table"] == len(tensors), page.rows
    layers = {match[0] for match in (re.match(r"blk\.\d+\.", t["name"]) for t in tensors) if match}
    assert page.blocks == len(layers) + sum(not t["name"].startswith("blk.") for t in tensors)
    for tensor in tensors:
        assert tensor["name"] in page.text, tensor
    if what["kind"] != "program":
        continue
    plan = what["planned_memory"]
    assert page.buffers == len(plan["steps"][0]["buffers"]) > 0
    assert page.rows["section-table"] == len(what["sections"])
    assert page.rows["region-table"] == len(plan["regions"])
    assert page.rows["kernel-table"] == len(what["kernels"]) * len(what["variants"])
    # The program keeps its kernels' symbols, so that their code is known: nearly all of the section.
    code = [c for k in what["kernels"] for c in k["code"]]
    assert len(code) == page.rows["kernel-table"]
    assert sum(c["bytes"] for c in code) > 0.9 * what["bytes"]["kernels"]
    for kernel in what["kernels"]:
        assert len(kernel["tiles"]) == len(what["variants"]) == len(kernel["code"]), kernel
        for c in kernel["code"]:
            assert c["instructions"] == sum(c["mnemonics"].values()) > 10, kernel
            assert f"{c['instructions']:,}" in page.text, kernel
        if kernel["name"].startswith("linear") and kernel["one_token"]:
            assert any(re.match("vpmaddubsw|vpdpbusd", name) for name in kernel["code"][0]["mnemonics"]), kernel
    assert {step["name"] for step in plan["steps"]} >= {"decode", "prefill"}
