"""Times of variants that are interleaved, and what a case comes to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NO_BF16 = "not measured: the hardware does not compute in bf16, and the library does not there either"


@dataclass
class Result:
    """What a case comes to.

    Args:
        case: Its name.
        gate: What must be reached.
        ratio: How many times faster than the peer, the median over rounds; milliseconds or a share for cases that say
            so. None where it was not measured.
        rounds: How many rounds.
        at_most: Less is better.
        medians: Seconds of each variant.
        note: What was compared, or why it was not.
        failed: The equality check that failed, if one did.
    """

    case: str
    gate: float
    ratio: float | None = None
    rounds: int = 0
    at_most: bool = False
    medians: dict[str, float] = field(default_factory=dict)
    note: str = ""
    failed: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the gate is reached; None where nothing was measured."""
        if self.failed:
            return False
        if self.ratio is None:
            return None
        return self.ratio <= self.gate if self.at_most else self.ratio >= self.gate

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the name."""
        return {name: value for name, value in asdict(self).items() if name != "case"} | {"passed": self.passed}


def interleave(
    variants: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Time variants one after the other, round by round, after one call of each that does not count.

    Args:
        variants: What to time.
        rounds: How often.
        clock: CPU time of the process by default.

    Returns:
        Seconds of each variant by round.
    """
    for run in variants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return times


def compare(case: str, gate: float, times: Mapping[str, list[float]], peer: str, own: str, note: str = "") -> Result:
    """The ratio of a peer's times to our own."""
    ratios = [theirs / ours for theirs, ours in zip(times[peer], times[own], strict=True)]
    medians = {name: statistics.median(times[name]) for name in (peer, own)}
    return Result(case, gate, statistics.median(ratios), len(ratios), medians=medians, note=note)
