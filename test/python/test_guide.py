"""The Python of docs/python.md, from top to bottom, and the notebooks of examples/python."""

import re

import nbclient
import nbformat


def test_guide(source, smollm2, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").symlink_to(smollm2)
    names = {}
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", (source / "docs/python.md").read_text(),
                        re.MULTILINE | re.DOTALL)
    # The first has the commands that wheel.py runs.
    assert [language for language, _ in blocks] == ["sh", *["python"] * (len(blocks) - 1)]
    assert len(blocks) >= 8
    for _, block in blocks[1:]:
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "linking" in said and "Paris" in said and "perplexity" in said, said
    assert "is not one that weights can be rounded to" in said, said


def test_notebooks(source, smollm2, tmp_path):
    (tmp_path / "model.gguf").symlink_to(smollm2)
    notebooks = sorted((source / "examples/python").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), f"{path} keeps outputs"
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                resources={"metadata": {"path": tmp_path}}).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs), outputs
        said = "".join(output.get("text", "") for output in outputs)
        assert "Paris" in said, said
