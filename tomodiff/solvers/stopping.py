"""When to stop: rules that look at a State and answer with a reason, or None to go on. They combine with | and &."""

from __future__ import annotations

from dataclasses import dataclass

from tomodiff.solvers.state import State


class Stop:
    """A stopping rule: `rule(state)` is a sentence that says why to stop, or None."""

    def __call__(self, state: State) -> str | None:
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def __or__(self, other: Stop) -> Stop:
        return Either(self, other)

    def __and__(self, other: Stop) -> Stop:
        return Both(self, other)


def _measured(state: State, name: str, rule: str) -> float | None:
    """A number of the last step, None before the first; ValueError if the solver does not measure it."""
    if state.history and name not in state.metrics:
        raise ValueError(f"{rule}: {state.solver} does not measure {name}, only {', '.join(state.metrics)}")
    return state.metrics.get(name)


@dataclass(frozen=True)
class Either(Stop):
    """Stop as soon as one of two rules says so."""

    first: Stop
    second: Stop

    def __call__(self, state: State) -> str | None:
        return self.first(state) or self.second(state)


@dataclass(frozen=True)
class Both(Stop):
    """Stop when two rules agree."""

    first: Stop
    second: Stop

    def __call__(self, state: State) -> str | None:
        first, second = self.first(state), self.second(state)
        return f"{first}, and {second}" if first and second else None


@dataclass(frozen=True)
class MaxIterations(Stop):
    """Stop at iteration `count`, counted from the first start (a resumed run does not count anew)."""

    count: int

    def __call__(self, state: State) -> str | None:
        return f"reached {self.count} iterations" if state.iteration >= self.count else None


@dataclass(frozen=True)
class RelativeChange(Stop):
    """Stop when a step moves the estimate by at most `tolerance` times its norm."""

    tolerance: float

    def __call__(self, state: State) -> str | None:
        change = _measured(state, "relative_change", "RelativeChange")
        if change is None or change > self.tolerance:
            return None
        return f"the estimate changed by {change:.2e} of its norm, at most {self.tolerance:g}"


@dataclass(frozen=True)
class GradientNorm(Stop):
    """Stop when the gradient is at most `tolerance` times what it was at the first step."""

    tolerance: float

    def __call__(self, state: State) -> str | None:
        norm = _measured(state, "gradient_norm", "GradientNorm")
        if norm is None or norm > self.tolerance * state.history[0]["gradient_norm"]:
            return None
        return f"the gradient fell to {norm:.2e}, at most {self.tolerance:g} of the first"


@dataclass(frozen=True)
class Discrepancy(Stop):
    """Stop when |A x - data| (weighted as in the likelihood) reaches `factor` times the norm of the noise.

    Fitting the data better than the noise allows fits noise (Morozov 1966). With weights 1/variance the norm of the
    noise is the square root of the number of data.
    """

    noise_norm: float
    factor: float = 1.0

    def __call__(self, state: State) -> str | None:
        norm = _measured(state, "residual_norm", "Discrepancy")
        if norm is None or norm > self.factor * self.noise_norm:
            return None
        return f"the residual norm {norm:.4g} reached the noise, {self.factor:g} x {self.noise_norm:.4g}"


@dataclass(frozen=True)
class Plateau(Stop):
    """Stop when the best value of the last `window` steps is below that before by at most `tolerance` of itself."""

    window: int = 10
    tolerance: float = 1e-4

    def __call__(self, state: State) -> str | None:
        if len(state.history) <= self.window:
            return None
        _measured(state, "value", "Plateau")
        values = [step["value"] for step in state.history]
        before, recent = min(values[: -self.window]), min(values[-self.window :])
        if before - recent > self.tolerance * abs(before):
            return None
        return f"the value fell by less than {self.tolerance:g} of itself in {self.window} iterations"
