"""What a simulated exchange is made of: one frozen value, with the product's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.errors import InvalidSetting
from app.simulator.listing import LISTINGS, Listing

DAY_S = 86_400.0


@dataclass(frozen=True)
class SimulatorConfig:
    """Everything that a `Simulator` can be told; times in seconds.

    With `replay` files the market is a recording, else it is the seeded one. Port 0 means any free
    port.
    """

    host: str = "127.0.0.1"
    rest_port: int = 0
    stream_port: int = 0
    # A second port for the streams, for clients that refuse anything but wss://; `None`: without.
    tls_port: int | None = None
    # A PEM file with the certificate that it shows, and one with its key if that is not in the
    # first. `None`: one of its own, which is made when there is none in `tls_folder`.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_folder: Path = Path("data/tls")

    seed: int = 7
    # What a seeded market lists.
    listings: tuple[Listing, ...] = LISTINGS
    # How far before its start a seeded market answers REST calls.
    history_s: int = 2 * 3_600
    # Added to the clock, so that the exchange's time differs from the machine's.
    clock_offset_s: float = 0.0

    replay: tuple[Path, ...] = ()
    # How many times faster than recorded; infinity is as fast as the slowest client reads.
    speed: float = 1.0
    # A recording starts once no new subscription has come for so long after the first.
    settle_s: float = 1.0
    # Symbols whose trades must be subscribed before a recording starts (it waits 3 s for them).
    expect: frozenset[str] = frozenset()

    faults: Path | None = None

    # The exchange's own rules for a connection.
    life_s: float = DAY_S
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    max_connections: int = 4_096

    # Keeps every published trade and kline in memory for `Simulator.truth()`: for tests.
    keep_truth: bool = False

    @property
    def kind(self) -> str:
        """`recorded` with replay files, else `seeded`."""
        return "recorded" if self.replay else "seeded"

    def check(self) -> None:
        """Raise `InvalidSetting` for the first value that cannot work."""
        if not self.speed > 0:
            raise InvalidSetting(
                key="--speed", value=self.speed, expected="a number above 0, or max"
            )
        taken: dict[int, str] = {}
        for name, port in (
            ("--rest-port", self.rest_port),
            ("--stream-port", self.stream_port),
            ("--tls-port", self.tls_port or 0),
        ):
            if not 0 <= port <= 65_535:
                raise InvalidSetting(name, port, "a port, 0 to 65535")
            if port in taken:
                raise InvalidSetting(name, port, f"another port than {taken[port]}")
            if port:
                taken[port] = name
        for name, path, needs, there in (
            ("--tls-key", self.tls_key, "--tls-cert", self.tls_certificate is not None),
            ("--tls-cert", self.tls_certificate, "--tls-port", self.tls_port is not None),
        ):
            if path is not None and not there:
                raise InvalidSetting(name, path, f"{needs} beside it")
        for name, value in (("--life", self.life_s), ("--settle", self.settle_s)):
            if not value > 0:
                raise InvalidSetting(name, value, "seconds above 0")
        if not 0 <= self.history_s <= 7 * 86_400:
            raise InvalidSetting(
                key="--history", value=self.history_s, expected="0 to 604800 seconds"
            )
