"""A database directory looked at from outside, without its lock: what tools read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lamina.catalog.sqlite import SqliteCatalog
from lamina.engine.open import CATALOG, FORMAT, IDENTITY, LOCK
from lamina.errors import Corrupt, NotFound, UnknownFormat
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.local import LocalFiles


class Directory:
    """Read-only; works while another process has the database open."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = Path(path)
        if not self.root.is_dir():
            raise NotFound(f"there is no database at {self.root}")
        self.files = LocalFiles(str(self.root))
        self.blobs = FileBlobs(self.files)

    def identity(self) -> bytes:
        """The database id. Raises NotFound, Corrupt, UnknownFormat."""
        place = self.root / IDENTITY
        if not place.exists():
            raise NotFound(f"{self.root} has no {IDENTITY} file: not a database, or an unfinished backup")
        try:
            fields = json.loads(place.read_bytes())
            version, id = int(fields["format"]), bytes.fromhex(fields["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{place} is not a line of JSON with format and id: {error}") from None
        if version > FORMAT:
            raise UnknownFormat(f"{self.root} has format {version}, this Lamina reads up to {FORMAT}")
        return id

    def catalog(self) -> SqliteCatalog:
        return SqliteCatalog.open_readonly(str(self.root / CATALOG))

    def user(self) -> int:
        """Process id of whoever has the database open; 0 = nobody. Looks at the kernel's list of locks (Linux) and
        takes none itself, so that nobody who is opening is turned away."""
        try:
            lock = (self.root / LOCK).stat()
            held = Path("/proc/locks").read_text()
        except OSError:
            return 0
        inode = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        for line in held.splitlines():
            fields = line.split()
            if "FLOCK" in fields and inode in fields:
                return int(fields[fields.index(inode) - 1])
        return 0

    def log_files(self) -> Iterator[Path]:
        return iter(sorted((self.root / "log").glob("*.log")))

    def segment_names(self) -> set[str]:
        return {blob.name for blob in self.blobs.list("")}
