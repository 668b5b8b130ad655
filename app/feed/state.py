"""What must survive a restart: the wanted symbols, how far each had come, a ban, the last epoch.

One small SQLite file per source, with a version, for one hub at a time. Every call is quick but
touches the disk: call it from a thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from app.errors import StateUnreadable
from app.market.events import NO_TRADE_ID, SECOND_US
from app.market.ledger import Hole
from app.market.position import Position

FILE = "state.sqlite3"
_IN_USE_AFTER_S = 1.0  # another hub that has just been stopped may need as long to let go

# What each version added; a file of an older one gets the rest. Never edited, only appended to.
_STEPS = (
    """
CREATE TABLE wanted (symbol TEXT PRIMARY KEY, added_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE numbering (epoch_ms INTEGER NOT NULL);
INSERT INTO numbering VALUES (0);
""",
    """
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY, second_us INTEGER NOT NULL, last_id INTEGER NOT NULL,
    close TEXT NOT NULL, kept_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE holes (
    symbol TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
    from_us INTEGER NOT NULL, to_us INTEGER NOT NULL, PRIMARY KEY (symbol, first_id)
) WITHOUT ROWID;
CREATE TABLE ban (
    one INTEGER PRIMARY KEY CHECK (one = 1), until_us INTEGER NOT NULL, reason TEXT NOT NULL
);
""",
)
VERSION = len(_STEPS)

_TradeId = Annotated[int, msgspec.Meta(ge=0)]
_Second = Annotated[int, msgspec.Meta(ge=0, multiple_of=SECOND_US)]
_Time = Annotated[int, msgspec.Meta(ge=0)]


class Ban(NamedTuple):
    """Nothing may be asked of the exchange before this time of day, microseconds UTC."""

    until_us: int
    reason: str


class _Position(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A row of `positions` as it must be."""

    symbol: str
    second_us: _Second
    last_id: Annotated[int, msgspec.Meta(ge=NO_TRADE_ID)]
    close: str
    kept_us: _Time


class _Hole(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A row of `holes` as it must be."""

    symbol: str
    first_id: _TradeId
    last_id: _TradeId
    from_us: _Second
    to_us: _Second


class _Ban(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The row of `ban` as it must be."""

    until_us: _Time
    reason: str


def kept_ban(folder: Path) -> Ban | None:
    """Return the last ban that was kept in `folder`, for who does not open the state otherwise.

    `None` where nothing was ever kept; the folder is not made. Raises `StateUnreadable`.
    """
    if not (folder / FILE).exists():
        return None
    with closing(KeptState(folder)) as state:
        return state.ban()


class KeptState:
    """The kept state of one source, in `folder`/state.sqlite3. Safe to use from any thread.

    Everything here raises `StateUnreadable`, which names the file, when the disk or the file fails.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
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
            # The module's own errors, as of text that is not UTF-8, have no code.
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                message = (
                    f"{self.path}: another hub uses it; stop that one, or set another DATA_DIR"
                )
            raise StateUnreadable(message) from error
        except StateUnreadable:
            self._database.close()
            raise

    def _prepare(self) -> None:
        """Bring the file to this version; refuse one that is not ours, or from a newer us."""
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
        self._database.execute("PRAGMA synchronous = FULL")
        if 0 <= version < VERSION:
            steps = "".join(_STEPS[version:])
            self._database.executescript(f"BEGIN; {steps} PRAGMA user_version = {VERSION};")
        self._check()
        self._database.commit()

    def _check(self) -> None:
        """Read everything once, so that what is wrong stops the start and not a later use."""
        database = self._database
        database.execute("SELECT symbol, added_us FROM wanted").fetchall()
        if database.execute("SELECT epoch_ms FROM numbering").fetchone() is None:
            message = f"{self.path}: the numbering is gone; move the file away to begin anew"
            raise StateUnreadable(message)
        self._read_positions(database)
        self._read_ban(database)

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend the database; what is done with it is kept wholly or not at all.

        A death of this program takes nothing away that was kept. If the whole machine dies, what
        was not `durable` may be as it was some seconds before.
        """
        with self._lock:
            try:
                level = "FULL" if durable else "NORMAL"
                self._database.execute(f"PRAGMA synchronous = {level}")
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
        """Want `symbol` no longer, and forget how far it had come."""
        with self._transaction() as database:
            for table in ("wanted", "positions", "holes"):
                database.execute(f"DELETE FROM {table} WHERE symbol = ?", (symbol,))  # noqa: S608 - one of these three

    def keep_positions(self, rows: Mapping[str, Position], *, now_us: int) -> None:
        """Keep how far each of these symbols has come, all of them or none; others stay.

        A symbol that is not wanted (any more) is passed over. Called once a second, so it does not
        wait for the disk: a position that is some seconds old costs a few calls to the exchange.
        """
        with self._transaction(durable=False) as database:
            wanted = {row[0] for row in database.execute("SELECT symbol FROM wanted")}
            kept = [(symbol, row) for symbol, row in rows.items() if symbol in wanted]
            database.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
                [
                    (symbol, at.second_us, at.last_id, f"{at.close:f}", now_us)
                    for symbol, at in kept
                ],
            )
            database.executemany(
                "DELETE FROM holes WHERE symbol = ?", [(symbol,) for symbol, _ in kept]
            )
            database.executemany(
                "INSERT INTO holes VALUES (?, ?, ?, ?, ?)",
                [
                    (symbol, each.first_id, each.last_id, each.from_second_us, each.to_second_us)
                    for symbol, at in kept
                    for each in at.holes
                ],
            )

    def positions(self) -> dict[str, Position]:
        """Return how far each symbol had come, as far as that was kept."""
        with self._transaction() as database:
            return self._read_positions(database)

    def keep_ban(self, until_us: int, reason: str) -> None:
        """Keep until when nothing may be asked of the exchange, in place of what was kept."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO ban VALUES (1, ?, ?)", (until_us, reason))

    def ban(self) -> Ban | None:
        """Return the last ban that was kept, which may be over; `None` if there never was one."""
        with self._transaction() as database:
            return self._read_ban(database)

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

    def _read_positions(self, database: sqlite3.Connection) -> dict[str, Position]:
        """Read both tables; refuse what we cannot have written."""
        holes: dict[str, list[Hole]] = {}
        for row in database.execute(
            "SELECT symbol, first_id, last_id, from_us, to_us FROM holes ORDER BY symbol, first_id"
        ):
            with self._refusing("holes", row):
                hole = msgspec.convert(row, _Hole)
                if hole.first_id > hole.last_id or hole.from_us > hole.to_us:
                    message = "its end is before its beginning"
                    raise ValueError(message)
                found = Hole(hole.first_id, hole.last_id, hole.from_us, hole.to_us)
                holes.setdefault(hole.symbol, []).append(found)
        positions: dict[str, Position] = {}
        for row in database.execute(
            "SELECT symbol, second_us, last_id, close, kept_us FROM positions ORDER BY symbol"
        ):
            with self._refusing("positions", row):
                at = msgspec.convert(row, _Position)
                close = _price(at.close)
                missing = tuple(holes.pop(at.symbol, ()))
                positions[at.symbol] = Position(at.second_us, at.last_id, close, missing)
        for symbol, orphans in holes.items():
            with self._refusing("holes", (symbol, *msgspec.structs.astuple(orphans[0]))):
                message = "its symbol has no position"
                raise ValueError(message)
        return positions

    def _read_ban(self, database: sqlite3.Connection) -> Ban | None:
        row = database.execute("SELECT until_us, reason FROM ban").fetchone()
        if row is None:
            return None
        with self._refusing("ban", row):
            found = msgspec.convert(row, _Ban)
            return Ban(found.until_us, found.reason)

    @contextmanager
    def _refusing(self, table: str, row: tuple[object, ...]) -> Iterator[None]:
        """Name the file, the table and the row in what is raised about it."""
        try:
            yield
        except ValueError as error:  # msgspec's errors are among them
            shown = repr(row)[:200]
            message = (
                f"{self.path}: a row of {table} cannot be right: {shown}: {error}; "
                "move the file away to begin anew"
            )
            raise StateUnreadable(message) from error


def _price(text: str) -> Decimal:
    """Return a price that was kept; raise `ValueError` when it is none."""
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(0)
    if not price.is_finite() or price <= 0:
        message = "its price is none"
        raise ValueError(message)
    return price
