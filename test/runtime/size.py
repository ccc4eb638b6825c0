"""Links the functions of a list, and what they need of an archive, to a stripped library.

    size.py LIST ARCHIVE OUTPUT MOST_BYTES
"""

import pathlib
import subprocess
import sys

listed, archive, output, most = sys.argv[1:]
names = [line for line in pathlib.Path(listed).read_text().splitlines() if line[0] != "#"]
exports = pathlib.Path(output + ".exports")
exports.write_text("{ global:\n" + "".join(f"{name};\n" for name in names) + "local: *; };\n")
subprocess.run(["ld.lld", "-shared", "--gc-sections", "--strip-all", "--version-script", exports,
                *(f"--undefined={name}" for name in names), archive, "-o", output], check=True)
shown = subprocess.check_output(["llvm-nm", "-D", "--defined-only", output], text=True)
assert {line.split()[-1] for line in shown.splitlines()} == set(names), shown
size = pathlib.Path(output).stat().st_size
print(f"{size:,} of at most {int(most):,} bytes")
assert size <= int(most)
exports.unlink()
pathlib.Path(output).unlink()
