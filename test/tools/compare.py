"""Where programs differ from the reference and from each other; damage is found where it is.

    compare.py INGOT MODEL FOLDER
"""

import json
import pathlib
import shutil
import subprocess
import sys

ingot, model, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def compile_model(name, *options):
    subprocess.run([ingot, "compile", model, "-o", folder / name, "--batch", "1", *options],
                   check=True)
    return folder / name


def compare(a, b, *options):
    """(exit code, what is printed, the record)"""
    record = folder / "compare.json"
    done = subprocess.run([ingot, "compare", a, b, "--json", record, *options], text=True,
                          capture_output=True)
    assert done.returncode in (0, 1) and not done.stderr, done
    return done.returncode, done.stdout, json.loads(record.read_text())


# With fp32 activations all launches are those of the reference, whose sums are in another order.
exact = compile_model("exact", "--activations", "f32")
for step in ("score", "decode"):
    code, text, record = compare(exact, model, "--step", step)
    assert code == 0 and record["first"] is None and "no value differs" in text, text
    # The embedding, five values a layer or more, logits.
    assert len(record["values"]) >= 2 + 5 * 30, len(record["values"])
    assert record["values"][0]["layer"] == "embedding" and record["values"][-1]["layer"] == "output"
    assert max(value["relative_error"] for value in record["values"]) < 1e-4
    assert sum(value["relative_error"] > 0 for value in record["values"]) > 100

chat = compile_model("chat")
code, text, record = compare(chat, model, "--tokens", "504,3575,282,4649,314")
assert code == 0 and max(value["relative_error"] for value in record["values"]) < 2e-3, text
code, text, record = compare(chat, chat, "--bound", "1e-30")
assert code == 0 and not any(value["largest_error"] for value in record["values"]), text
assert record["tokens"] == [] and "prefers" not in text, text

# One matrix is damaged: everything before it is the same, it is named, and all behind it differs.
broken = folder / "broken"
subprocess.run([sys.executable, pathlib.Path(__file__).with_name("damage.py"), chat, broken,
                "blk.7.ffn_down.weight"], check=True)
for step in ("score", "decode"):
    # The reference follows the program: nothing but the damaged launch differs from it.
    code, text, record = compare(broken, model, "--step", step)
    assert code == 1 and "first beyond 0.01: layer 7, launch" in text, text
    beyond = [value for value in record["values"] if value["relative_error"] > 0.01]
    assert len(beyond) == 1 and beyond == [record["values"][record["first"]]], beyond
    assert beyond[0]["layer"] == "7" and beyond[0]["kernel"].startswith("linear_576x1536"), beyond
    # Two programs go their own ways: everything before it is the same, everything behind differs.
    code, text, record = compare(broken, chat, "--step", step, "--bound", "1e-30")
    errors = [value["largest_error"] for value in record["values"]]
    assert code == 1 and not any(errors[:record["first"]]) and all(errors[record["first"]:]), errors
    assert record["values"][record["first"]]["kernel"] == beyond[0]["kernel"], text
    # A layer less changes what comes next.
    assert record["tokens"] and text.count(", A prefers ") == len(record["tokens"]), text
    for token in record["tokens"]:
        assert token["a"] != token["b"] and token["margin_a"] > 0 and token["margin_b"] > 0, token

done = subprocess.run([ingot, "compare", chat, exact], text=True, capture_output=True)
assert done.returncode == 1 and "do not run the same launches" in done.stderr, done
done = subprocess.run([ingot, "compare", model, chat], text=True, capture_output=True)
assert done.returncode == 1 and "is not a compiled program" in done.stderr, done
shutil.rmtree(folder)
