"""The list of scenarios. A file test_*.py registers its own with @scenario."""

import importlib
from pathlib import Path

SCENARIOS = {}


def scenario(promise, seconds=60, **parameters):
    """Registers f(world, **parameters) under the name of the promise it proves; `seconds` bounds it."""
    def register(f):
        assert promise not in SCENARIOS, promise
        SCENARIOS[promise] = (f, seconds, parameters)
        return f
    return register


def load():
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(path.stem)
    return SCENARIOS
