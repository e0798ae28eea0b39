"""Which files belong to the project."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _listed_by_git():
    """None where this is no checkout of its own."""
    try:
        done = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", "--full-name", "."],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return None
    if done.returncode != 0 or not (ROOT / ".git").exists():
        return None
    return [name for name in done.stdout.split("\0") if name]


def _found():
    names = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "build", "__pycache__", "run"))
        ]
        names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return names


def project_files(*suffixes):
    """Paths below the root of all files with one of these suffixes; without
    any, of all files."""
    names = _listed_by_git()
    if names is None:
        names = _found()
    return sorted(
        pathlib.Path(name)
        for name in names
        if (not suffixes or name.endswith(suffixes)) and (ROOT / name).is_file()
    )


def text_of(path):
    return (ROOT / path).read_text(errors="replace")
