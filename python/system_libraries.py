"""Lists the libraries that a program loads from the system, and the Debian packages they are in.

    system_libraries.py PROGRAM OUT.json
"""

import json
import pathlib
import subprocess
import sys

program, out = sys.argv[1:]
owners = {}
for line in subprocess.run(["ldd", program], check=True, capture_output=True,
                           text=True).stdout.splitlines():
    name, arrow, path = line.partition("=>")
    path = path.split()[0] if arrow else ""
    # Debian's /lib is /usr/lib, and packages name either.
    for candidate in (path, "/usr" + path, path.removeprefix("/usr")) if path else ():
        try:
            owner = subprocess.run(["dpkg-query", "--search", candidate], capture_output=True,
                                   text=True)
        except FileNotFoundError:
            break  # another system: errors name the library alone
        if owner.returncode == 0:
            owners[name.strip()] = owner.stdout.split(":")[0]
            break
pathlib.Path(out).write_text(json.dumps(owners, indent=1, sort_keys=True) + "\n")
