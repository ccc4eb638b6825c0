"""Only kernels for machines with dot products (or products of matrices) use them, and those of 4-bit linear layers do.

    dotprod.py INGOT OBJDUMP FOLDER
"""

import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot, objdump = sys.argv[1:3]
tiny = Folder(ingot, sys.argv[3])
tiny_models.write_tiny_llama(tiny.model)
text = run(objdump, "--disassemble", "--no-show-raw-insn", "--mattr=+all",
           tiny.compiled("both.o", "--target", "aarch64-linux", "--emit", "object"))
functions = dict(re.findall(r"^[0-9a-f]+ <([^$>]+)>:\n(.*?)(?=\n\n|\Z)", text,
                            re.MULTILINE | re.DOTALL))
machines = ("_aarch64_dotprod", "_aarch64_i8mm")
with_dots = {name for name, body in functions.items() if re.search(r"\t([su]dot|smmla)\t", body)}
assert with_dots and all(name.endswith(machines) for name in with_dots), with_dots
for name in functions:
    if name.startswith("linear") and name.endswith(machines):
        assert name in with_dots, name
shutil.rmtree(tiny.path)
