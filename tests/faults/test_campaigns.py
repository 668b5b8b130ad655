"""Everything that can go wrong, at random: whatever it was, all candles are whole in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import check_campaign
from tests.faults.scenario import seeds


@pytest.mark.parametrize("seed", seeds(3))
def test_three_minutes_of_random_faults(tmp_path: Path, seed: int):
    """A dozen faults, some at the same time, of one symbol or of all."""
    check_campaign(tmp_path, seed=seed, minutes=3)


@pytest.mark.soak(minutes=2)
@pytest.mark.parametrize("block", range(5))
def test_a_hundred_campaigns_of_random_faults(tmp_path: Path, block: int):
    """Twenty in each block, of ten minutes each."""
    for number, seed in enumerate(seeds(100)[20 * block : 20 * block + 20]):
        check_campaign(tmp_path / str(number), seed=seed, minutes=10)
