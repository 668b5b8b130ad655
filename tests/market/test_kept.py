"""Tests of app.market.kept; what it means for candles is proved in test_candles."""

from __future__ import annotations

from app.market.kept import KeptSeconds

S = 1_000_000


def filled(count: int, *, most_waiting: int = 100, settled: bool = True) -> KeptSeconds:
    """Return seconds 1 to `count`, taken one by one, with what had to go in `lost`."""
    kept = KeptSeconds(keep_seconds=10, most_waiting=most_waiting, backfill_seconds=1_000)
    for at in range(1, count + 1):
        second = kept.take(at * S)
        second.proved = second.verified = settled
        second.revisions = 1
        if kept.reach(at * S):
            kept.tidy()
    return kept


def test_settled_seconds_are_forgotten_and_stay_known_as_gone():
    """What is proved and verified goes soon after it is old; nothing may change it then."""
    kept = filled(100)
    assert kept.get(50 * S) is None
    assert kept.gone(50 * S)
    assert kept.get(95 * S) is not None
    assert not kept.gone(95 * S)
    assert len(list(kept.items())) <= 20
    assert (kept.complete_until_us, kept.verified_until_us) == (100 * S, 100 * S)


def test_what_waits_is_kept_as_long_as_there_is_room():
    """Unproved seconds stay; the oldest go when there are too many, and can be taken again."""
    kept = filled(100, settled=False)
    assert kept.get(1 * S) is not None
    kept = filled(100, most_waiting=20, settled=False)
    assert kept.get(1 * S) is None
    assert not kept.gone(1 * S)
    assert kept.take(1 * S).revisions == 1  # so that the next issue is the second one
    assert kept.complete_until_us is None


def test_seconds_that_settle_late_are_forgotten_too():
    """A second that was waiting when it grew old goes once it is settled."""
    kept = filled(60, settled=False)
    for second in kept.between(0, 60 * S):
        second.proved = second.verified = True
    for at in range(61, 200):
        second = kept.take(at * S)
        second.proved = second.verified = True
        if kept.reach(at * S):
            kept.tidy()
    assert len(list(kept.items())) <= 20
    kept.advance()
    assert kept.verified_until_us == 199 * S


def test_the_more_seconds_wait_the_more_rarely_all_are_looked_at():
    """Looking at every kept second costs no more in all than a few looks at each."""
    kept = filled(1, most_waiting=1_000, settled=False)
    looked = 0
    for at in range(2, 1_000):
        kept.take(at * S)
        if kept.reach(at * S):
            looked += len(list(kept.items()))
            kept.tidy()
    assert looked < 10 * 1_000


def test_the_second_before_one_that_is_not_proved_stays():
    """Its price will be asked for when what follows it is repaired."""
    kept = KeptSeconds(keep_seconds=10, most_waiting=100, backfill_seconds=1_000)
    for at in [*range(1, 20), *range(40, 100)]:
        second = kept.take(at * S)
        second.proved = second.verified = True
        if kept.reach(at * S):
            kept.tidy()
    assert kept.get(18 * S) is None
    assert kept.get(19 * S) is not None


def test_nothing_from_before_the_backfill_is_taken():
    """What is older than the backfill is gone, whatever was known of it; a leap forgets it all."""
    kept = filled(50, settled=False)
    kept.reach(5_000 * S)
    kept.tidy()
    assert kept.gone(50 * S)
    assert not kept.gone(4_500 * S)
    assert list(kept.between(0, 5_000 * S)) == []
