"""One number that a demonstration found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One number of a finished run, what was expected of it, and whether it is so."""

    name: str
    found: str
    expected: str
    good: bool

    def __str__(self) -> str:
        return f"{self.name:<7} {self.found}; expected: {self.expected}{'' if self.good else '.  THIS IS NOT SO'}"
