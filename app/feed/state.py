"""What must survive a restart: the wanted symbols, and the last epoch of numbering.

One small SQLite file per source, with a version, for one hub at a time. Every call is quick but
touches the disk: call it from a thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import StateUnreadable

VERSION = 1
_IN_USE_AFTER_S = 1.0  # another hub that has just been stopped may need as long to let go

_TABLES = """
CREATE TABLE wanted (symbol TEXT PRIMARY KEY, added_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE numbering (epoch_ms INTEGER NOT NULL);
INSERT INTO numbering VALUES (0);
"""


class KeptState:
    """The kept state of one source, in `folder`/state.sqlite3. Safe to use from any thread.

    Everything here raises `StateUnreadable`, which names the file, when the disk or the file fails.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.sqlite3"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, check_same_thread=False, timeout=_IN_USE_AFTER_S
            )
        except (OSError, sqlite3.Error) as error:
            message = f"{self.path}: {error}; DATA_DIR sets where it lies"
            raise StateUnreadable(message) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            message = f"{self.path}: {error}; move the file away to begin anew"
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                message = (
                    f"{self.path}: another hub uses it; stop that one, or set another DATA_DIR"
                )
            raise StateUnreadable(message) from error
        except StateUnreadable:
            self._database.close()
            raise

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse a file that is not ours, or from a newer us."""
        # Two hubs on one file would undo each other's wanted sets. A dead one's lock is gone.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            message = (
                f"{self.path}: version {version} is newer than this program's {VERSION}; "
                "use the program that wrote it, or another DATA_DIR"
            )
            raise StateUnreadable(message)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # rarely written, never to be lost
        if version == 0:
            self._database.executescript(
                f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT"
            )
        self._database.execute("SELECT symbol, added_us FROM wanted").fetchall()
        if self._database.execute("SELECT epoch_ms FROM numbering").fetchone() is None:
            message = f"{self.path}: the numbering is gone; move the file away to begin anew"
            raise StateUnreadable(message)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend the database; what is done with it is kept wholly or not at all."""
        with self._lock:
            try:
                with self._database as database:
                    yield database
            except sqlite3.Error as error:
                message = f"{self.path}: {error}"
                raise StateUnreadable(message) from error

    def wanted(self) -> list[str]:
        """Return the wanted symbols, sorted."""
        with self._transaction() as database:
            rows = database.execute("SELECT symbol FROM wanted ORDER BY symbol").fetchall()
        return [row[0] for row in rows]

    def want(self, symbols: Iterable[str], *, now_us: int) -> None:
        """Keep `symbols` as wanted; those that are already keep their time."""
        with self._transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO wanted VALUES (?, ?)",
                [(symbol, now_us) for symbol in symbols],
            )

    def forget(self, symbol: str) -> None:
        """Want `symbol` no longer."""
        with self._transaction() as database:
            database.execute("DELETE FROM wanted WHERE symbol = ?", (symbol,))

    def next_epoch(self, *, now_us: int) -> int:
        """Return a new epoch in ms: the time of day, or more if the last one was not before it."""
        with self._transaction() as database:
            last = database.execute("SELECT epoch_ms FROM numbering").fetchone()[0]
            epoch: int = max(now_us // 1_000, last + 1)
            database.execute("UPDATE numbering SET epoch_ms = ?", (epoch,))
        return epoch

    def close(self) -> None:
        """Close the file. Calling it twice is harmless."""
        with self._lock:
            self._database.close()
