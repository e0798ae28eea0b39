"""The documents are held against the sources and the built programs; what the
system tests use to run those is used here as well."""

import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parent.parent / "system")
)
