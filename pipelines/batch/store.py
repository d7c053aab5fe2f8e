"""Outputs that end up at an address (s3://, gs://, ...): made in a folder on the way, sent when they are whole.

The sidecar goes last, and is believed only where the files it names have the sizes it says. So a transfer that broke off is
no finished work, whether or not the other side can rename.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vtrack.errors import MissingExtraError, SinkError, VTrackError


@dataclass(frozen=True)
class Store:
    """An address, and the folder whose files go there."""

    address: str
    folder: Path

    @cached_property
    def _there(self) -> tuple[Any, str]:
        """The file system and the place in it."""
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtraError(f'{self.address} needs fsspec; pip install "vtrack[remote]"') from error
        with self._guarded():
            system, root = fsspec.core.url_to_fs(self.address)
        return system, root.rstrip("/")

    def put(self, path: Path) -> None:
        """Send a file."""
        system, _ = self._there
        with self._guarded():
            system.makedirs(self._key(path).rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), self._key(path))

    def move(self, path: Path) -> None:
        """Send a file and take it away here."""
        self.put(path)
        path.unlink()

    def fetch(self, path: Path) -> None:
        """Get a file; nothing where there is none."""
        system, _ = self._there
        with self._guarded():
            if system.exists(self._key(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(self._key(path), str(path))

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""
        system, _ = self._there
        with self._guarded():
            return int(system.size(self._key(path))) if system.exists(self._key(path)) else None

    def remove(self, path: Path) -> None:
        """Take a file away there, if it is there."""
        system, _ = self._there
        with self._guarded():
            if system.exists(self._key(path)):
                system.rm_file(self._key(path))

    def look(self, ending: str) -> dict[Path, int]:
        """Get all files whose names end so, many at a time; gives the sizes of all that is there."""
        system, root = self._there
        with self._guarded():
            there = system.find(root, detail=True) if system.exists(root) else {}
            sizes = {self._path(key): int(facts["size"]) for key, facts in there.items() if ".." not in key.split("/")}
            wanted = [path for path in sizes if path.name.endswith(ending)]
            for folder in {path.parent for path in wanted}:
                folder.mkdir(parents=True, exist_ok=True)
            if wanted:
                system.get([self._key(path) for path in wanted], [str(path) for path in wanted])
        return sizes

    def _path(self, key: str) -> Path:
        return self.folder / key.removeprefix(self._there[1] + "/")

    def _key(self, path: Path) -> str:
        return f"{self._there[1]}/{path.relative_to(self.folder).as_posix()}"

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Every kind of store has errors of its own."""
        try:
            yield
        except VTrackError:
            raise
        except Exception as error:
            raise SinkError(f"{self.address}: {' '.join(str(error).split()) or type(error).__name__}") from error
