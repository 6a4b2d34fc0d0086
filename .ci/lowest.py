"""Prints constraints to the lowest versions that ``pyproject.toml`` allows, for pip's ``-c``.

torch is left out: old builds for the CPU alone are not in the package index, so it comes from ``constraints.txt``.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
lines = [
    *project["dependencies"],
    *(line for extra in ("onnx", "serve", "test") for line in project["optional-dependencies"][extra]),
]
for line in lines:
    match = re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", line)
    if match and match[1] != "torch":
        print(f"{match[1]}=={match[2]}")
