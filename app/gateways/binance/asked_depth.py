"""Asks the exchange for snapshots of kept books so that the hub's own diffs fit them.

One from before what the streams had sent when it was asked for is of no use to a client, who would
only ask again, and get the same answer while that is kept: it is waited for a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.binance.decode import decode_depth
from app.binance.server.data import Elsewhere
from app.binance.server.rest import API
from app.binance.wire import TimeUnit
from app.errors import BadFrame
from app.gateways.binance.asking import late, unreadable
from app.gateways.binance.passed_snapshots import PassedSnapshots
from app.market.events import DepthSnapshot
from app.ports import Books, Clock

PATH: Final = f"{API}/depth"
WITHIN_S: Final = 5.0  # for all tries together
EACH_S: Final = 0.5


class AskedDepth:
    """An `Elsewhere` before another one, which asks it again where a snapshot comes too late."""

    def __init__(
        self, ask: Elsewhere, *, books: Books, snapshots: PassedSnapshots, clock: Clock
    ) -> None:
        self._ask = ask
        self._books = books
        self._snapshots = snapshots
        self._clock = clock

    async def __call__(
        self, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Return the body of the exchange's answer, or raise `RestRefusal`."""
        symbol = parameters.get("symbol", "")
        if path != PATH or self._books.book(symbol) is None:
            return await self._ask(path, parameters, time_unit)
        try:
            async with self._clock.timeout(WITHIN_S):
                return await self._fitting(symbol, path, parameters, time_unit)
        except TimeoutError:
            raise late() from None

    async def _fitting(
        self, symbol: str, path: str, parameters: Mapping[str, str], time_unit: TimeUnit
    ) -> bytes:
        """Ask until a snapshot fits what the streams have sent and send."""
        sent_id = self._book_id(symbol)
        while True:
            body = await self._ask(path, parameters, time_unit)
            snapshot = self._snapshot(symbol, body)
            book_id = self._book_id(symbol)  # a lower one where ids have begun anew
            is_new = snapshot.last_update_id >= min(sent_id, book_id)
            if is_new and self._snapshots.passes(snapshot, book_id):
                return body
            await self._clock.sleep(EACH_S)

    def forget(self, symbol: str) -> None:
        """Hold nothing of a symbol that is wanted no longer."""
        self._snapshots.forget(symbol)

    def _book_id(self, symbol: str) -> int:
        """Return the newest update of a book that is known; 0 before there is any."""
        kept = self._books.book(symbol)
        return 0 if kept is None or kept.book is None else kept.book.update_id

    def _snapshot(self, symbol: str, body: bytes) -> DepthSnapshot:
        try:
            return decode_depth(body, symbol, limit=0, received_us=0)
        except BadFrame as error:
            raise unreadable(str(error)) from error
