"""Tests of `app.gateways.binance.borrowing`."""

from __future__ import annotations

from collections.abc import Collection

from app.gateways.binance.borrowing import RETRY_S, Borrowing, Loans

LISTED = {"AUSDT", "BUSDT", "CUSDT", "HELD"}


class Lender:
    """Symbols that are followed, and a clock."""

    def __init__(self, most: int = 2) -> None:
        self.borrowing = Borrowing(most=most, idle_s=10)
        self.borrowed: set[str] = set()
        self.wanted = {"HELD"}
        self.now_s = 100.0

    def look(self, *asked: str, available: Collection[str] = LISTED) -> Loans:
        """Do what is said."""
        loans = self.borrowing.look(
            asked,
            active=self.wanted | self.borrowed,
            borrowed=self.borrowed,
            available=available,
            now_s=self.now_s,
        )
        self.borrowed |= set(loans.borrow)
        self.borrowed -= set(loans.give_back)
        return loans


def test_a_listed_symbol_is_borrowed_once_while_somebody_asks_for_it():
    """What is held is not, nor what nobody lists, nor what cannot be known yet."""
    lender = Lender()
    assert lender.look("HELD", "NOSUCH") == ([], [], [])
    assert lender.look("AUSDT", available=()) == ([], [], [])
    assert lender.look("AUSDT", "HELD") == (["AUSDT"], [], [])
    assert lender.look("AUSDT", "HELD") == ([], [], [])
    assert set(lender.borrowing.held) == {"AUSDT"}


def test_it_is_given_back_once_nobody_has_asked_for_it_for_so_long():
    """Who comes back meanwhile keeps it."""
    lender = Lender()
    lender.look("AUSDT")
    assert lender.look() == ([], [], [])
    lender.now_s += 9.9
    assert lender.look("AUSDT") == ([], [], [])
    lender.now_s += 9.9
    assert lender.look() == ([], [], [])
    lender.now_s += 9.9
    assert lender.look() == ([], [], [])
    lender.now_s += 0.1
    assert lender.look() == ([], ["AUSDT"], [])
    assert lender.look() == ([], [], [])


def test_no_more_than_so_many_are_borrowed():
    """Who is refused is told of once, and gets it as soon as there is room."""
    lender = Lender(most=1)
    assert lender.look("AUSDT", "BUSDT") == (["AUSDT"], [], ["BUSDT"])
    assert lender.look("AUSDT", "BUSDT") == ([], [], [])
    assert lender.borrowing.refused == 1
    lender.look("BUSDT")
    lender.now_s += 10
    assert lender.look("BUSDT") == (["BUSDT"], ["AUSDT"], [])


def test_one_that_becomes_wanted_makes_room():
    """It is not given back either."""
    lender = Lender(most=1)
    lender.look("AUSDT")
    lender.borrowed.remove("AUSDT")
    lender.wanted.add("AUSDT")
    assert lender.look("AUSDT", "BUSDT") == (["BUSDT"], [], [])
    lender.now_s += 60
    assert lender.look("BUSDT") == ([], [], [])


def test_what_could_not_be_followed_or_was_taken_away_is_not_tried_at_once():
    """A symbol that is not TRADING would be asked for each second."""
    lender = Lender()
    lender.look("AUSDT", "BUSDT")
    lender.borrowed -= {"AUSDT", "BUSDT"}
    lender.borrowing.fail("AUSDT", lender.now_s)
    assert lender.look("AUSDT", "BUSDT") == ([], [], [])
    lender.now_s += RETRY_S - 1
    assert lender.look("AUSDT", "BUSDT") == ([], [], [])
    lender.now_s += 1
    assert lender.look("AUSDT", "BUSDT") == (["AUSDT", "BUSDT"], [], [])
    assert lender.borrowing.failed == 1
