"""Refuses to build from a checkout without symbolic links; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

for folder in ("detectors", "filters", "pipelines"):
    if not (Path(__file__).parent / "vtrack" / folder / "__init__.py").is_file():
        raise SystemExit(
            f"vtrack/{folder} is not a link to ../{folder}: this checkout has no symbolic links. Allow them (on Windows: "
            "turn on developer mode), then run: git config core.symlinks true && git checkout -- vtrack"
        )

setup()
