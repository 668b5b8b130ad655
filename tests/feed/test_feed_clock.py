"""Tests of app.feed.feed_clock."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.feed.feed_clock import AHEAD_US, FeedClock
from tests.fakes import START_US, ManualClock

S = 1_000_000


class World:
    """A feed clock beside the exchange's true clock, which is `skew_us` apart from ours.

    The exchange's clock goes faster than ours by `drift_ppm`.
    """

    def __init__(self, skew_us: int = 0, *, drift_ppm: float = 0.0) -> None:
        self.clock = ManualClock()
        self.feed_clock = FeedClock(self.clock)
        self.drift_ppm = drift_ppm
        self._skew_us = float(START_US + skew_us - self.feed_clock.stamp_us())

    @property
    def true_us(self) -> int:
        """What the exchange's clock really says now."""
        return self.feed_clock.stamp_us() + int(self._skew_us)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.step(seconds)
        self._skew_us += seconds * self.drift_ppm

    def sleep(self, seconds: float) -> None:
        """Let this machine sleep: only its wall clock knows how long."""
        self.clock.step_wall(seconds)
        self.leap(seconds)

    def leap(self, seconds: float) -> None:
        """Let the exchange's clock be set."""
        self._skew_us += seconds * S

    def hear(self, delay_us: int = 0, *, ahead_us: int = 0) -> None:
        """Receive an event made `delay_us` ago, whose time lies `ahead_us` too far ahead."""
        event_us = self.true_us - delay_us + ahead_us
        received_us = self.feed_clock.received_us()
        if received_us - event_us < self.feed_clock.floor_us:  # as callers may
            self.feed_clock.observe(event_us, received_us)

    def ask(self, delay_us: int = 0) -> None:
        """Learn from an answer that took `delay_us` to come back, asked nobody knows when."""
        stamp = self.feed_clock.stamp_us()
        self.feed_clock.set_exchange_time(self.true_us - delay_us, answered_at_us=stamp)

    def ask_and_wait(self, there_us: int = 0, back_us: int = 0) -> None:
        """Ask for the time, which takes so long there and back; it comes in milliseconds."""
        asked_us = self.feed_clock.stamp_us()
        self.step(there_us / S)
        exchange_us = self.true_us // 1_000 * 1_000
        self.step(back_us / S)
        self.feed_clock.set_exchange_time(
            exchange_us, asked_at_us=asked_us, answered_at_us=self.feed_clock.stamp_us()
        )

    def pass_seconds(self, seconds: int) -> None:
        """Let time pass, refreshing each second."""
        for _ in range(seconds):
            self.step(1)
            self.feed_clock.refresh()

    @property
    def late_us(self) -> int:
        """How far the estimate lags behind the truth; negative when it is early."""
        estimate = self.feed_clock.exchange_us()
        assert estimate is not None
        return self.true_us - estimate

    def wants_time(self) -> bool:
        """Whether it wants an answer."""
        return self.feed_clock.wants_time

    def uncertainty_us(self) -> int | None:
        """How far the clock itself says that it can be wrong."""
        return self.feed_clock.uncertainty_us


def test_nothing_is_known_before_the_first_event() -> None:
    """Before anything came there is no exchange's clock, no offset, and nothing is ahead."""
    world = World()
    assert world.feed_clock.exchange_us() is None
    assert world.feed_clock.offset_us is None
    assert not world.feed_clock.is_ahead(1 << 60)
    world.pass_seconds(3)
    assert world.feed_clock.exchange_us() is None


def test_received_us_is_the_time_of_day() -> None:
    """What reaches us is stamped with the wall clock, as it was when the second began."""
    world = World()
    assert world.feed_clock.received_us() == START_US
    world.clock.step(0.25)
    assert world.feed_clock.received_us() == START_US + S // 4


def test_the_smallest_delay_wins() -> None:
    """The estimate lags by the smallest delay among the events, whatever their order."""
    world = World(skew_us=-3 * S)
    for delay_us in (80_000, 12_000, 50_000, 30_000):
        world.hear(delay_us)
    assert world.late_us == 12_000
    assert world.feed_clock.offset_us == 3 * S + 12_000


def test_events_above_the_floor_teach_nothing() -> None:
    """Skipping events at or above the floor, as the quick path does, loses no knowledge."""
    world = World()
    world.hear(20_000)
    assert world.feed_clock.floor_us == 20_000
    world.pass_seconds(1)
    assert world.feed_clock.floor_us > 1 << 60


def test_the_window_is_a_minute() -> None:
    """A small delay counts for a minute, and then no longer."""
    world = World()
    world.hear(5_000)
    for _ in range(58):
        world.pass_seconds(1)
        world.hear(40_000)
    assert world.late_us == 5_000
    world.pass_seconds(3)
    assert world.late_us == 40_000


def test_what_is_known_stays_when_nothing_comes() -> None:
    """After hours without an event the last estimate still stands, and events correct it."""
    world = World()
    world.hear(7_000)
    world.pass_seconds(7_200)
    assert world.late_us == 7_000
    world.hear(3_000)
    assert world.late_us == 3_000


@pytest.mark.parametrize("step_s", [-7_200.0, -1.5, 0.02, 3_600.0])
def test_steps_of_the_wall_clock_do_not_move_the_exchange_clock(step_s: float) -> None:
    """Setting our wall clock changes what we call the time of day, never the exchange's clock."""
    world = World(skew_us=S)
    world.hear(10_000)
    world.clock.step_wall(step_s)
    world.hear(15_000)
    assert world.late_us == 10_000
    world.pass_seconds(1)
    world.hear(20_000)
    assert world.late_us == 10_000
    assert world.feed_clock.received_us() == world.clock.now_us()


@pytest.mark.parametrize("by_s", [3_600, -3_600, 0.6])
def test_a_wall_clock_that_moves_is_counted_once(by_s: float) -> None:
    """Against the exchange's, by half a second or more: set, or drifted so far by then."""
    world = World()
    for _ in range(5):
        world.hear(10_000)
        world.pass_seconds(1)
    assert world.feed_clock.moves == 0
    world.clock.step_wall(by_s)
    for _ in range(5):
        world.hear(10_000)
        world.pass_seconds(1)
    assert world.feed_clock.moves == 1


def test_one_event_moves_it_forward_by_a_second_at_most() -> None:
    """A single event an hour ahead moves the exchange's clock by 1 s."""
    world = World()
    world.hear()
    world.hear(ahead_us=3_600 * S)
    assert world.late_us == -S


def test_three_that_agree_move_it_all_the_way() -> None:
    """The third event that says the same is believed: the others are behind."""
    world = World()
    world.hear()
    for moved_s in (1, 2):
        world.hear(ahead_us=3_600 * S)
        assert world.late_us == -moved_s * S
    world.hear(ahead_us=3_600 * S)
    assert world.late_us == -3_600 * S


def test_three_that_do_not_agree_move_it_by_a_second_each() -> None:
    """Events that are each far ahead, but not together, are not believed."""
    world = World()
    world.hear()
    for number, ahead_s in enumerate((3_600, 60, 7_200, 600, 86_400), start=1):
        world.hear(ahead_us=ahead_s * S)
        assert world.late_us == -number * S


def test_three_that_move_on_between_one_another_agree() -> None:
    """In a quick recording of a quiet market each event is a second on: they agree all the same."""
    world = World()
    world.hear()
    for ahead_s in (60, 61, 62):
        world.hear(ahead_us=round(ahead_s * 1.02 * S))
    assert world.late_us == -round(62 * 1.02 * S)
    world.hear(ahead_us=round(63 * 1.02 * S))
    assert world.late_us == -round(63 * 1.02 * S)


def test_events_of_another_day_are_not_believed() -> None:
    """However many agree on it, an event of years ahead moves nothing; an answer would."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    for _ in range(10):
        world.hear(ahead_us=8_000 * 365 * 86_400 * S)
    assert world.late_us == 5_000
    assert world.wants_time()
    assert world.feed_clock.is_ahead(world.true_us + 6 * S)


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_a_slow_recording_has_a_slow_clock(rate: float) -> None:
    """Where the exchange's time passes slowly, the estimate does too, and is never early."""
    clock = ManualClock()
    feed_clock = FeedClock(clock, rate=rate)
    for second in range(90):
        clock.step(1)
        feed_clock.refresh()
        event_us = START_US + round(second * rate * S)
        received_us = feed_clock.received_us() + 2_000
        assert received_us - event_us < feed_clock.floor_us
        feed_clock.observe(event_us, received_us)
        assert feed_clock.exchange_us() == pytest.approx(event_us - 2_000 * rate, abs=2)
    assert feed_clock.offset_us == clock.now_us() - (feed_clock.exchange_us() or 0)
    assert feed_clock.seconds_for(S) == pytest.approx(1 / rate)


def test_agreement_must_come_within_a_minute() -> None:
    """Bad events with the same error, but minutes apart, never add up to an agreement."""
    world = World()
    for _ in range(10):
        world.hear()
        world.hear(ahead_us=3_600 * S)
        assert world.late_us >= -S
        for _ in range(65):
            world.pass_seconds(1)
            world.hear()
        assert world.late_us == 0


def test_an_answer_serves_until_the_first_event() -> None:
    """`GET /time` alone gives the clock; the first event then tells better, earlier or later."""
    world = World()
    world.ask(200_000)
    assert world.late_us == 200_000
    world.hear(30_000)
    assert world.late_us == 30_000

    playing_later = World()
    playing_later.ask()  # a recording answers with its first moment before it starts to play
    playing_later.pass_seconds(3)
    playing_later.hear(3 * S)
    assert playing_later.late_us == 3 * S


def test_an_answer_keeps_a_bad_first_event_from_setting_the_clock() -> None:
    """With the time asked beforehand, a first event an hour ahead moves it by 1 s only."""
    world = World()
    world.ask(100_000)
    world.hear(ahead_us=3_600 * S)
    assert world.late_us == 100_000 - S


def test_a_later_answer_may_move_it_forward_at_once() -> None:
    """`GET /time` is trusted further than one event; an answer that is late changes nothing."""
    world = World()
    world.hear(10 * S)
    world.ask(50_000)
    assert world.late_us == 50_000
    world.ask(900_000)
    assert world.late_us == 50_000


def test_a_time_more_than_five_seconds_ahead_is_told() -> None:
    """5 s ahead of the exchange's clock is still believed, anything beyond is not."""
    world = World()
    world.hear()
    assert not world.feed_clock.is_ahead(world.true_us + AHEAD_US)
    assert world.feed_clock.is_ahead(world.true_us + AHEAD_US + 1)
    assert world.feed_clock.trusted_until_us == world.true_us + AHEAD_US


def test_trust_does_not_outlast_a_correction() -> None:
    """When the clock turns out to have been too early, times trusted meanwhile are not any more."""
    world = World()
    world.hear()
    for _ in range(3):
        world.hear(ahead_us=3_600 * S)
    assert not world.feed_clock.is_ahead(world.true_us + 3_600 * S)
    for _ in range(65):
        world.pass_seconds(1)
        world.hear()
    assert world.late_us == 0
    assert world.feed_clock.trusted_until_us < world.true_us + 60 * S


def test_an_answer_says_how_wrong_the_clock_can_be() -> None:
    """The exchange made it between our asking and its coming back, to the millisecond."""
    world = World(skew_us=-3 * S + 600)
    assert world.uncertainty_us() is None
    world.ask_and_wait(30_000, 70_000)
    assert world.feed_clock.answers == 1
    assert world.late_us == pytest.approx(70_600, abs=1)
    assert world.uncertainty_us() == pytest.approx(101_000, abs=100)
    world.hear(12_000)
    assert world.uncertainty_us() == pytest.approx(12_000 + 30_000 + 400, abs=100)
    world.ask_and_wait(20_000, 500_000)  # a slow answer says less, but one end of it helps
    assert world.uncertainty_us() == pytest.approx(12_000 + 20_000 + 400, abs=700)


def test_an_answer_asked_nobody_knows_when_bounds_one_side_only() -> None:
    """Without the moment of asking, how far the clock can lag behind is not known."""
    world = World()
    world.ask(50_000)
    world.hear(10_000)
    assert world.uncertainty_us() is None


def test_uncertainty_grows_until_the_next_answer() -> None:
    """Two clocks may drift apart by 500 ppm: 30 ms a minute, if nothing is heard."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    first_us = world.uncertainty_us()
    assert first_us is not None
    world.pass_seconds(60)
    assert world.uncertainty_us() == pytest.approx(first_us + 30_000, abs=200)
    world.ask_and_wait(10_000, 10_000)
    assert world.uncertainty_us() == pytest.approx(first_us, abs=200)


def test_the_time_is_wanted_every_minute() -> None:
    """It is wanted at first, and again a minute after each answer."""
    world = World()
    assert world.wants_time()
    for _ in range(3):
        world.ask_and_wait(10_000, 10_000)
        world.hear(5_000)
        assert not world.wants_time()
        world.pass_seconds(59)
        assert not world.wants_time()
        world.pass_seconds(1)
        assert world.wants_time()


def test_one_event_against_an_answer_moves_nothing() -> None:
    """What was made later than the exchange's clock can be is not believed; the time is wanted."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.hear(ahead_us=3_600 * S)
    assert world.late_us == pytest.approx(-11_000, abs=100)  # no earlier than answers allow
    assert world.uncertainty_us() is None
    assert world.wants_time()
    world.ask_and_wait(10_000, 10_000)
    assert not world.wants_time()
    assert world.uncertainty_us() is not None


def test_a_machine_a_little_ahead_of_another_is_no_contradiction() -> None:
    """Where streams are made by a clock some ms ahead of the one that answers, both are kept."""
    world = World()
    world.ask_and_wait(1_000, 1_000)
    world.hear(ahead_us=30_000)
    assert world.late_us == -30_000
    assert world.uncertainty_us() == pytest.approx(28_000, abs=100)
    assert not world.wants_time()
    world.ask_and_wait(1_000, 1_000)
    assert world.late_us == -30_000


def test_an_answer_puts_right_a_clock_that_is_early() -> None:
    """Three bad events that agree set the clock wrong; the next answer sets it right at once."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.pass_seconds(1)
    for _ in range(3):
        world.hear(ahead_us=3_600 * S)
    assert world.late_us == -3_600 * S
    assert world.wants_time()
    world.ask_and_wait(10_000, 15_000)
    assert world.late_us == pytest.approx(5_000, abs=1_100)  # the best of what was right remains
    world.hear(4_000)
    assert world.late_us == 4_000
    assert world.uncertainty_us() == pytest.approx(15_000, abs=1_200)
    assert not world.feed_clock.is_ahead(world.true_us + 4 * S)
    assert world.feed_clock.is_ahead(world.true_us + 6 * S)


@pytest.mark.parametrize("back_s", [1.5, 30.0, 3_600.0])
def test_an_exchange_that_sets_its_clock_back(back_s: float) -> None:
    """When every event lags for some seconds, the time is wanted, and tells what has happened."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.pass_seconds(1)
    world.leap(-back_s)
    seconds = 0
    while not world.wants_time():
        world.hear(8_000)
        world.hear(30_000)
        world.pass_seconds(1)
        seconds += 1
    assert seconds <= 4
    assert world.late_us < -1.4 * S
    world.ask_and_wait(10_000, 10_000)
    assert 0 <= world.late_us <= 11_000
    world.hear(5_000)
    world.pass_seconds(2)
    assert 0 <= world.late_us <= 11_000


def test_a_slow_network_is_not_taken_for_another_clock() -> None:
    """Events that are late for a while, by answers that stand, move nothing for a minute."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    for _ in range(30):
        world.pass_seconds(1)
        world.hear(3 * S)
        if world.wants_time():
            world.ask_and_wait(10_000, 10_000)
    assert world.late_us == 5_000


@pytest.mark.parametrize("seconds", [3.0, 600.0, 86_400.0])
def test_after_a_sleep_three_events_set_the_clock(seconds: float) -> None:
    """Our monotonic clock stands still in a sleep: what comes then is ahead until it agrees."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.pass_seconds(10)
    world.sleep(seconds)
    for _ in range(2):
        world.hear(5_000)
        assert world.late_us > S / 2
    world.hear(5_000)
    assert world.late_us == 5_000
    assert world.uncertainty_us() is None
    assert world.wants_time()
    world.ask_and_wait(10_000, 10_000)
    assert world.uncertainty_us() == pytest.approx(16_000, abs=1_100)


def test_after_a_sleep_an_answer_sets_the_clock() -> None:
    """The step of the wall clock is noticed within a second: the time is wanted, and tells."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.sleep(600)
    world.pass_seconds(1)
    assert world.wants_time()
    assert world.uncertainty_us() is None
    world.ask_and_wait(10_000, 10_000)
    assert 0 <= world.late_us <= 11_000
    assert world.uncertainty_us() == pytest.approx(21_000, abs=100)
    assert not world.wants_time()


def test_an_answer_that_was_under_way_in_a_sleep() -> None:
    """Asked before and answered after it, the answer bounds one side only: another is wanted."""
    world = World()
    world.hear(5_000)
    asked_us = world.feed_clock.stamp_us()
    exchange_us = world.true_us
    world.step(0.01)
    world.sleep(600)
    world.feed_clock.refresh()
    world.feed_clock.set_exchange_time(
        exchange_us, asked_at_us=asked_us, answered_at_us=world.feed_clock.stamp_us()
    )
    assert world.uncertainty_us() is None
    assert world.wants_time()


def test_a_step_of_the_wall_clock_alone_costs_one_question() -> None:
    """Set by hand, our wall clock looks as after a sleep: the answer says that nothing moved."""
    world = World()
    world.ask_and_wait(10_000, 10_000)
    world.hear(5_000)
    world.clock.step_wall(-3_600)
    world.pass_seconds(1)
    assert world.wants_time()
    assert world.late_us == 5_000
    world.ask_and_wait(10_000, 10_000)
    assert world.late_us == 5_000
    assert world.uncertainty_us() == pytest.approx(16_000, abs=1_100)


@pytest.mark.parametrize("drift_ppm", [-500.0, -40.0, 40.0, 500.0])
def test_hours_of_drift(drift_ppm: float) -> None:
    """Over four hours of drift the clock is right within 50 ms, and what it says of itself true."""
    world = World(drift_ppm=drift_ppm)
    wanted = 0
    for second in range(4 * 3_600):
        if world.wants_time():
            wanted += 1
            world.ask_and_wait(20_000, 20_000)
        for delay_us in (10_000, 60_000 + second % 7 * 1_000):
            world.hear(delay_us)
        assert abs(world.late_us) <= 50_000
        assert abs(world.late_us) <= (world.uncertainty_us() or 0) <= 100_000
        world.pass_seconds(1)
    assert wanted == pytest.approx(240, abs=5)


def test_a_time_too_far_ahead_makes_the_time_wanted() -> None:
    """A trade beyond belief is bad or our clock is: an answer decides."""
    world = World()
    world.ask_and_wait()
    world.hear()
    assert not world.feed_clock.is_ahead(world.true_us + 4 * S)
    assert not world.wants_time()
    assert world.feed_clock.is_ahead(world.true_us + 60 * S)
    assert world.wants_time()


@pytest.mark.parametrize("step_s", [0.0, -7_200.0, 0.3])
def test_how_much_older_an_event_is_than_the_quickest(step_s: float) -> None:
    """`wall_offset_us` gives the age of an event above the least of the last minute."""
    world = World(skew_us=5 * S)
    assert world.feed_clock.wall_offset_us == 0
    world.ask(20_000)
    assert world.feed_clock.wall_offset_us == world.feed_clock.offset_us == -5 * S + 20_000
    world.hear(10_000)
    world.clock.step_wall(step_s)
    world.pass_seconds(1)
    event_us = world.true_us - 35_000
    age_us = world.feed_clock.received_us() - event_us - world.feed_clock.wall_offset_us
    assert age_us == pytest.approx(25_000, abs=2)
    assert world.feed_clock.wall_offset_us == world.feed_clock.offset_us


def test_a_recording_that_did_not_play_yet_says_nothing_of_the_clock() -> None:
    """It answers with its first moment until it plays: the first event takes its place."""
    world = World()
    world.ask_and_wait(1_000, 1_000)
    world.leap(-3)  # it stands still for so long
    world.hear(1_000)
    assert world.late_us == 1_000
    assert world.uncertainty_us() is None
    assert world.wants_time()


STEPS_S = st.sampled_from([0.0, 0.0, 0.0, -3_600.0, 0.5, 86_400.0])  # of the wall clock


def seconds_with_delays_up_to(most_us: int) -> st.SearchStrategy[list[tuple[list[int], float]]]:
    """Return seconds to live through: the delays of the events in each, and a step after it."""
    delays = st.lists(st.integers(0, most_us), max_size=4)
    return st.lists(st.tuples(delays, STEPS_S), min_size=1, max_size=150)


@settings(max_examples=50, deadline=None)
@given(skew_us=st.integers(-(10**12), 10**12), seconds=seconds_with_delays_up_to(S))
def test_it_lags_by_the_smallest_delay_of_the_last_minute(
    skew_us: int, seconds: list[tuple[list[int], float]]
) -> None:
    """With delays below a second, whatever our clock does, the estimate is as good as can be."""
    world = World(skew_us)
    heard: list[int | None] = []
    for delays, step_s in seconds:
        for delay_us in delays:
            world.hear(delay_us)
        heard.append(min(delays) if delays else None)
        known = [each for each in heard[-60:] if each is not None]
        if known:
            assert abs(world.late_us - min(known)) <= 2  # the fractions of two rounded stamps
        world.clock.step_wall(step_s)
        world.pass_seconds(1)


@settings(max_examples=50, deadline=None)
@given(skew_us=st.integers(-(10**12), 10**12), seconds=seconds_with_delays_up_to(30 * S))
def test_it_errs_late_never_early(skew_us: int, seconds: list[tuple[list[int], float]]) -> None:
    """However late events come, the estimate is never ahead of the exchange."""
    world = World(skew_us)
    for delays, step_s in seconds:
        for delay_us in delays:
            world.hear(delay_us)
            assert world.late_us >= -2
        world.clock.step_wall(step_s)
        world.pass_seconds(1)
        assert world.feed_clock.exchange_us() is None or world.late_us >= -2


DRIFTS = st.floats(-499.0, 499.0)  # parts in a million, either way
ROUND_TRIPS = st.none() | st.tuples(st.integers(0, 2 * S), st.integers(0, 2 * S))


@settings(max_examples=100, deadline=None)
@given(
    skew_us=st.integers(-(10**12), 10**12),
    seconds=st.lists(
        st.tuples(DRIFTS, st.lists(st.integers(0, 3 * S), max_size=3), ROUND_TRIPS),
        min_size=1,
        max_size=200,
    ),
)
def test_it_is_never_further_from_the_truth_than_it_says(
    skew_us: int, seconds: list[tuple[float, list[int], tuple[int, int] | None]]
) -> None:
    """However the clocks drift and however long answers take, what it says of itself holds."""
    world = World(skew_us)
    for drift_ppm, delays, round_trip in seconds:
        world.drift_ppm = drift_ppm
        for delay_us in delays:
            world.hear(delay_us)
        if round_trip is not None:
            world.ask_and_wait(*round_trip)
        world.pass_seconds(1)
        uncertainty_us = world.uncertainty_us()
        if uncertainty_us is not None:
            assert abs(world.late_us) <= uncertainty_us + 5  # fractions of rounded stamps
