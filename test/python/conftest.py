"""What the tests of the wheel share: a tiny model, compiled once."""

import os
import pathlib
import subprocess

import pytest
import tiny_models

import ingot

CONTEXT = 200


def run(*command, **options):
    # Tiny models say bytes that are no text.
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          errors="replace", **options)
    assert done.returncode == 0, (command, done)
    return done.stdout


@pytest.fixture(scope="session")
def source():
    return pathlib.Path(os.environ["INGOT_SOURCE"])


@pytest.fixture(scope="session")
def compiler():
    """The one of the wheel."""
    return pathlib.Path(ingot.__file__).parent / "bin" / "ingot"


@pytest.fixture(scope="session")
def smollm2():
    return pathlib.Path(os.environ["INGOT_TEST_MODEL"])


@pytest.fixture(scope="session")
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_models.write_tiny_llama(path)
    return path


@pytest.fixture(scope="session")
def library(gguf):
    return ingot.compile(gguf, context=CONTEXT)


@pytest.fixture(scope="session")
def program(gguf):
    """The same model as a program."""
    return ingot.compile(gguf, gguf.with_name("tiny"), emit="exe", context=CONTEXT)


@pytest.fixture
def model(library):
    return ingot.load(library)


@pytest.fixture
def session(model):
    return model.session(threads=2)
