"""Time a repeated step: the median over stretches of steps."""

import math
import statistics
import time
from collections.abc import Callable

STRETCHES = 10
"""About how many stretches a measurement is cut into."""

WARM_UP_STEPS = 3


class Stopwatch:
    """Times stretches of steps until there are enough of them.

    Args:
        seconds: Measure for this long at least.
        min_steps: Measure this many steps at least.
        stretch_steps: Steps in each stretch.
    """

    def __init__(self, seconds: float, min_steps: int, stretch_steps: int) -> None:
        self.seconds = seconds
        self.min_steps = min_steps
        self.stretch_steps = stretch_steps
        self.times: list[float] = []

    def start(self) -> None:
        """Begin a stretch."""
        self._start = time.perf_counter()

    def stop(self) -> bool:
        """End a stretch, and return whether it was the last one needed."""
        self.times.append(time.perf_counter() - self._start)
        return sum(self.times) >= self.seconds and self.steps >= self.min_steps

    @property
    def steps(self) -> int:
        """Steps measured so far."""
        return len(self.times) * self.stretch_steps

    @property
    def ms(self) -> float:
        """Milliseconds a step."""
        return statistics.median(self.times) / self.stretch_steps * 1000


def stopwatch_for(
    seconds_per_step: float, seconds: float, min_steps: int, at_once: int = 1
) -> Stopwatch:
    """Return a stopwatch with stretches of sensible length.

    Args:
        seconds_per_step: Estimate of a step's time.
        seconds: Measure for this long at least.
        min_steps: Measure this many steps at least.
        at_once: Steps that run together; a stretch is a multiple of them.
    """
    steps = max(seconds / seconds_per_step, min_steps) / STRETCHES
    return Stopwatch(seconds, min_steps, math.ceil(steps / at_once) * at_once)


def time_calls(
    call: Callable[[int], object],
    seconds: float,
    min_calls: int,
    wait: Callable[[], object] = lambda: None,
) -> Stopwatch:
    """Time `call(i)` for i = 0, 1, 2…, after a warm-up.

    Args:
        call: Function to time; it returns when its work is done or queued.
        seconds: Measure for this long at least.
        min_calls: Measure this many calls at least.
        wait: Function that returns when the work of all calls is done; a GPU's work
            ends after its call.
    """
    for i in range(WARM_UP_STEPS):
        start = time.perf_counter()
        call(i)
        wait()
        guess = time.perf_counter() - start
    stopwatch = stopwatch_for(guess, seconds, min_calls)
    is_done = False
    while not is_done:
        first_step = stopwatch.steps
        stopwatch.start()
        for i in range(first_step, first_step + stopwatch.stretch_steps):
            call(i)
        wait()
        is_done = stopwatch.stop()
    return stopwatch
