"""How fast a long piece of work goes, what is left of it, and when to say so in a log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30.0
"""How often a log has a line about work that goes on, unless it is set otherwise."""


class Interval:
    """Says when a line is due: so many seconds after the last one.

    Args:
        seconds: The time between two lines.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    def restart(self) -> None:
        """Counts the seconds from now."""
        self._since = time.monotonic()

    def is_over(self) -> bool:
        """Whether the seconds are over; they are counted anew then."""
        if time.monotonic() - self._since < self.seconds:
            return False
        self.restart()
        return True


class Pace:
    """Measures how fast work goes.

    Args:
        done: How much is done when it begins.
    """

    def __init__(self, done: float = 0.0) -> None:
        self._begin = self._mark = (time.monotonic(), done)

    def restart(self, done: float) -> None:
        """Measures the speed from here; the time that is left still goes by the whole of the work."""
        self._mark = (time.monotonic(), done)

    def speed(self, done: float) -> float | None:
        """Work in a second since the last restart; None where nothing was done."""
        return _speed(self._mark, done)

    def seconds_left(self, done: float, total: float) -> float | None:
        """Seconds until all is done, if it goes on as it went; None where that cannot be known."""
        speed = _speed(self._begin, done)
        return None if speed is None or math.isinf(total) else max(0.0, total - done) / speed

    def texts(self, done: float, total: float, unit: str, most: float | None = None) -> list[str]:
        """The speed since the last restart, and the time that is left, as far as they are known; restarts.

        Args:
            done: How much is done.
            total: Of how much; infinite where that is not known.
            unit: What is counted: ``step``, ``batch``.
            most: Seconds that are left at most; None where there is no limit.
        """
        speed = self.speed(done)
        left = [seconds for seconds in (self.seconds_left(done, total), most) if seconds is not None]
        self.restart(done)
        texts = [] if speed is None else [speed_text(speed, unit)]
        return [*texts, f"{duration(min(left))} left"] if left else texts


def share(done: float, total: float) -> str:
    """``120/800 (15%)``, and ``120`` where the total is not known.

    Args:
        done: How much is done.
        total: Of how much; infinite where that is not known.
    """
    if math.isinf(total):
        return f"{done:,.0f}"
    return f"{done:,.0f}/{total:,.0f} ({math.floor(100 * done / total) if total else 100}%)"


def speed_text(speed: float, unit: str) -> str:
    """``12.3 steps/s``, and ``4.2 s/step`` where one takes longer than a second.

    Args:
        speed: Units in a second; more than 0.
        unit: What one of them is called: ``step``, ``batch``.
    """
    plural = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
    return f"{speed:,.1f} {plural}/s" if speed >= 1 else f"{1 / speed:,.1f} s/{unit}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min`` or ``2 d 04 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24:02} h"


def stamped(text: str) -> str:
    """A line with the time of day in front."""
    return f"{time.strftime('%H:%M:%S')}  {text}"


def with_progress(
    items: Iterable[Item], what: str, unit: str, count: Callable[[Item], int], total: int
) -> Iterator[Item]:
    """Hands on items, and logs now and then how far this is.

    Args:
        items: The items, which are worked on one by one.
        what: What is done with them.
        unit: What is counted.
        count: How many of these an item has.
        total: How many there are.
    """
    pace, interval, done = Pace(), Interval(), 0
    for item in items:
        yield item
        done += count(item)
        if interval.is_over():
            from lightning.pytorch.utilities import rank_zero_info  # slow to import, and seldom needed

            rank_zero_info(stamped(", ".join([f"{what}: {unit} {share(done, total)}", *pace.texts(done, total, unit)])))


def _speed(since: tuple[float, float], done: float) -> float | None:
    seconds, work = time.monotonic() - since[0], done - since[1]
    return work / seconds if work > 0 and seconds > 0 else None
