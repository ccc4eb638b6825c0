"""Compiles language models to native code ahead of time, and runs them.

    model = ingot.load(ingot.compile("model.gguf"))
    for text in model.generate("The capital of France is", max_tokens=32):
        print(text, end="", flush=True)
"""

from importlib.metadata import version

from ._compile import CompileError, compile, targets
from ._model import Model, ModelInfo, Session, load
from ._runtime import Cancelled, ContextFull, Error, LoadError

__version__ = version("ingot")
__all__ = ["Cancelled", "CompileError", "ContextFull", "Error", "LoadError", "Model", "ModelInfo",
           "Session", "compile", "load", "targets"]
