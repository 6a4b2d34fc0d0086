"""How fast a long piece of work goes, what is left of it, and when to say so in a log."""

from __future__ import annotations

import math
import time

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


def _speed(since: tuple[float, float], done: float) -> float | None:
    seconds, work = time.monotonic() - since[0], done - since[1]
    return work / seconds if work > 0 and seconds > 0 else None
