"""Outputs at an address (s3://, gs://, ...): written into a local folder first and uploaded when they are complete.

The sidecar is uploaded last, and counts only if the files that it names have the sizes that it states. An interrupted upload is
therefore never taken for finished work, whether or not the remote file system can rename files.
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
class RemoteStore:
    """An address and the local folder whose files belong there.

    Every method raises `SinkError` if the store cannot be reached and `MissingExtraError` if fsspec is not installed.
    """

    address: str
    folder: Path

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        """The file system, and the root path in it."""
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtraError(f'{self.address} needs fsspec; pip install "vtrack[remote]"') from error
        with self._guarded():
            system, root = fsspec.core.url_to_fs(self.address)
        return system, root.rstrip("/")

    def put(self, path: Path) -> None:
        """Upload a file."""
        system, _ = self._remote
        with self._guarded():
            system.makedirs(self._key(path).rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), self._key(path))

    def move(self, path: Path) -> None:
        """Upload a file and remove the local one."""
        self.put(path)
        path.unlink()

    def fetch(self, path: Path) -> None:
        """Download a file, if it exists."""
        system, _ = self._remote
        with self._guarded():
            if system.exists(self._key(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(self._key(path), str(path))

    def size(self, path: Path) -> int | None:
        """Size of a remote file in bytes; None if it does not exist."""
        system, _ = self._remote
        with self._guarded():
            return int(system.size(self._key(path))) if system.exists(self._key(path)) else None

    def remove(self, path: Path) -> None:
        """Remove a remote file, if it exists."""
        system, _ = self._remote
        with self._guarded():
            if system.exists(self._key(path)):
                system.rm_file(self._key(path))

    def fetch_all(self, suffix: str) -> dict[Path, int]:
        """Download all files whose names end in `suffix`, many at a time.

        Returns:
            The size in bytes of every remote file, by its local path.
        """
        system, root = self._remote
        with self._guarded():
            entries = system.find(root, detail=True) if system.exists(root) else {}
            # A key with ".." would be written outside the folder.
            sizes = {
                self._path(key): int(entry["size"]) for key, entry in entries.items() if ".." not in key.split("/")
            }
            paths = [path for path in sizes if path.name.endswith(suffix)]
            for folder in {path.parent for path in paths}:
                folder.mkdir(parents=True, exist_ok=True)
            if paths:
                system.get([self._key(path) for path in paths], [str(path) for path in paths])
        return sizes

    def _path(self, key: str) -> Path:
        return self.folder / key.removeprefix(self._remote[1] + "/")

    def _key(self, path: Path) -> str:
        return f"{self._remote[1]}/{path.relative_to(self.folder).as_posix()}"

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn the errors of the file system, whose types differ, into `SinkError`."""
        try:
            yield
        except VTrackError:
            raise
        except Exception as error:
            raise SinkError(f"{self.address}: {' '.join(str(error).split()) or type(error).__name__}") from error
