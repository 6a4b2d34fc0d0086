from __future__ import annotations

import math
import time

import pytest

from qa_lightning.utils.pace import Interval, Pace, duration, share, speed_text


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_line_is_due_when_the_seconds_are_over_and_then_again(clock: Clock) -> None:
    interval = Interval(30)
    clock.now += 29
    assert not interval.is_over()
    clock.now += 1
    assert interval.is_over()
    assert not interval.is_over()
    clock.now += 29
    interval.restart()
    clock.now += 29
    assert not interval.is_over()


def test_speed_is_the_recent_one_and_the_time_left_goes_by_the_whole(clock: Clock) -> None:
    pace = Pace(10)
    assert pace.speed(10) is None
    assert pace.seconds_left(10, 100) is None
    clock.now += 10
    assert pace.speed(30) == 2
    pace.restart(30)
    assert pace.speed(30) is None
    clock.now += 10
    assert pace.speed(70) == 4
    assert pace.seconds_left(70, 130) == 20  # 60 in 20 seconds so far
    assert pace.seconds_left(70, math.inf) is None
    assert pace.seconds_left(70, 60) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3599, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (47.4 * 3600, "47 h 24 min"),
        (52 * 3600, "2 d 04 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_speeds() -> None:
    assert share(1200, 8000) == "1,200/8,000 (15%)"
    assert share(7999, 8000) == "7,999/8,000 (99%)"  # is not all of it
    assert share(1200, math.inf) == "1,200"
    assert share(0, 0) == "0/0 (100%)"
    assert speed_text(12.34, "step") == "12.3 steps/s"
    assert speed_text(12.34, "batch") == "12.3 batches/s"
    assert speed_text(0.25, "step") == "4.0 s/step"
