"""What a measured engine must be able to do. An adapter lives in the engine's own process."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


@dataclass(frozen=True)
class Place:
    """Where an engine works."""

    folder: Path  # its data; created by the adapter, kept between runs
    threads: int
    suite: str


class Engine(ABC):
    #: As it is called in tables and files.
    name: str

    def __init__(self, place: Place):
        self.place = place
        place.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def start(self) -> None:
        """Opens the database in `place.folder`."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def create(self, statement: str) -> None: ...

    @abstractmethod
    def load(self, table: str, source: Path) -> None:
        """Loads the Parquet file, or the folder of Parquet files, in the order of columns.
        Returns when every row is durable and visible."""

    def settle(self) -> None:
        """Waits for work that loading left behind, so that it does not disturb the others."""

    @abstractmethod
    def query(self, text: str) -> pa.Table:
        """Runs the statement and fetches every row."""

    def bytes_on_disk(self) -> int:
        return folder_bytes(self.place.folder)

    def pids(self) -> list[int]:
        """The processes that do the work."""
        return [os.getpid()]


def folder_bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)
