"""Tests of app.bus.memory."""

from __future__ import annotations

from app.bus.memory import MemoryBus
from app.market.events import Publication
from tests.fakes import a_candle, a_trade


def numbers(received: list[Publication]) -> list[int]:
    """Return the sequence of each publication."""
    return [publication.sequence for publication in received]


def test_every_publication_has_its_number() -> None:
    """Sequences rise by one over all topics, listened to or not, with the epoch of this bus."""
    bus = MemoryBus(epoch=17)
    candles: list[Publication] = []
    trades: list[Publication] = []
    bus.subscribe("candles", candles.append)
    bus.subscribe("trades", trades.append)
    for _ in range(2):
        bus.publish("trades", a_trade())
        bus.publish("nobody listens", a_trade())
        bus.publish("candles", a_candle())
    assert numbers(trades) == [1, 4]
    assert numbers(candles) == [3, 6]
    assert bus.sequence == 6
    assert candles[0] == Publication(17, 3, "candles", a_candle())


def test_all_subscribers_get_the_same_in_the_order_of_subscribing() -> None:
    """One publication is handed to each subscriber of its topic, the first one first."""
    bus = MemoryBus(epoch=1)
    order: list[str] = []
    bus.subscribe("trades", lambda _: order.append("first"))
    bus.subscribe("trades", lambda _: order.append("second"))
    bus.publish("trades", a_trade())
    assert order == ["first", "second"]


def test_a_subscription_begins_now_and_ends_when_cancelled() -> None:
    """Nothing from before, nothing after; cancelling twice is harmless."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []
    bus.publish("trades", a_trade())
    subscription = bus.subscribe("trades", received.append)
    bus.publish("trades", a_trade())
    subscription.cancel()
    subscription.cancel()
    bus.publish("trades", a_trade())
    assert numbers(received) == [2]


def test_the_same_receiver_may_subscribe_twice() -> None:
    """Two subscriptions are two wishes: cancelling one leaves the other."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []
    bus.subscribe("trades", received.append).cancel()
    bus.subscribe("trades", received.append)
    bus.subscribe("trades", received.append)
    bus.publish("trades", a_trade())
    assert numbers(received) == [1, 1]


def test_a_failing_subscriber_harms_no_other() -> None:
    """Publishing never raises: the failure is counted, and everybody else receives."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []

    def fails(publication: Publication) -> None:
        raise ValueError(publication.sequence)

    failing = bus.subscribe("trades", fails)
    bus.subscribe("trades", received.append)
    for _ in range(3):
        bus.publish("trades", a_trade())
    assert numbers(received) == [1, 2, 3]
    assert (bus.failures, failing.failures) == (3, 3)


def test_cancelling_while_receiving_takes_effect_at_once() -> None:
    """Who is cancelled by an earlier receiver of a publication does not get that one any more."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []
    bus.subscribe("trades", lambda _: later.cancel())
    later = bus.subscribe("trades", received.append)
    bus.publish("trades", a_trade())
    assert received == []


def test_subscribing_while_receiving_begins_with_the_next() -> None:
    """A subscription made during a publication does not get that one."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []

    def once(_: Publication) -> None:
        first.cancel()
        bus.subscribe("trades", received.append)

    first = bus.subscribe("trades", once)
    bus.publish("trades", a_trade())
    bus.publish("trades", a_trade())
    assert numbers(received) == [2]


def test_publishing_while_receiving_keeps_the_order() -> None:
    """What a receiver publishes reaches everybody after what it was receiving."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []

    def derive(publication: Publication) -> None:
        if publication.sequence < 3:
            bus.publish("candles", a_candle())
            bus.publish("trades", a_trade())

    bus.subscribe("trades", derive)
    bus.subscribe("trades", received.append)
    bus.subscribe("candles", received.append)
    bus.publish("trades", a_trade())
    assert numbers(received) == [1, 2, 3]
    bus.publish("trades", a_trade())
    assert numbers(received) == [1, 2, 3, 4]


def test_a_failure_while_publishing_inside_does_not_stop_the_bus() -> None:
    """After a receiver that published and then failed, the next publication comes through."""
    bus = MemoryBus(epoch=1)
    received: list[Publication] = []

    def fails(_: Publication) -> None:
        bus.publish("candles", a_candle())
        raise ValueError

    bus.subscribe("trades", fails)
    bus.subscribe("candles", received.append)
    bus.publish("trades", a_trade())
    bus.publish("trades", a_trade())
    assert numbers(received) == [2, 4]
    assert bus.failures == 2
