"""Runs of solvers: when they stop, when they have diverged, and their checkpoints on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_solvers import SOLVERS, bits, problem
from tests.toys import Dense, dense
from tomodiff.core import Functional
from tomodiff.errors import DataError, Diverged
from tomodiff.objective import Gaussian
from tomodiff.solvers import (
    Cgls,
    Discrepancy,
    Gradient,
    GradientNorm,
    Lbfgs,
    MaxIterations,
    Plateau,
    RelativeChange,
    State,
    Stop,
    check_convergence,
    iterate,
    load,
    save,
    solve,
)

# ---- stopping -------------------------------------------------------------------------------------------


def states(values: list[float], **more: float) -> State:
    return State("Made up", np.zeros(1), len(values), history=tuple({"value": v, **more} for v in values))


def test_rules_say_why_and_combine() -> None:
    s = states([4, 2, 1.99], residual_norm=3.0, relative_change=0.01, gradient_norm=1.0)
    yes: list[Stop] = [
        MaxIterations(3),
        RelativeChange(0.01),
        Discrepancy(3.0),
        Discrepancy(2.0, 1.5),
        GradientNorm(1.0),
    ]
    no: list[Stop] = [MaxIterations(4), RelativeChange(0.009), Discrepancy(2.9), GradientNorm(0.5)]
    assert all(rule(s) for rule in yes) and not any(rule(s) for rule in no)
    assert (yes[0] | no[0])(s) == (no[0] | yes[0])(s) == "reached 3 iterations"
    assert (yes[0] & no[0])(s) is None and "iterations, and the estimate" in str((yes[0] & yes[1])(s))
    assert Plateau(1, 0.01)(s) and not Plateau(1, 0.001)(s) and not Plateau(3, 1.0)(s)
    assert Plateau(2, 0.1)(states([4, 2, 1.99, 1.98, 1.97])) and not Plateau(2, 0.1)(states([4, 3, 2, 1]))
    empty = State("Made up", np.zeros(1))
    assert not any(rule(empty) for rule in (*yes, *no, Plateau()))
    with pytest.raises(ValueError, match="Discrepancy: Made up does not measure residual_norm, only value"):
        Discrepancy(1.0)(states([1.0]))


def test_discrepancy_stops_before_noise_is_fitted(rng: np.random.Generator) -> None:
    A, x, truth = dense(rng, (20,), (40,)), np.zeros(20), rng.standard_normal(20)
    A = Dense(A.matrix * np.logspace(0, -3, 20), (20,), (40,))
    noise = 0.05 * rng.standard_normal(40)
    f = Gaussian(A(truth) + noise) @ A
    stopped = solve(Cgls(), f, x, Discrepancy(float(np.linalg.norm(noise))) | MaxIterations(100))
    assert stopped.iteration < 20
    fitted = solve(Cgls(), f, x, 60)
    assert np.linalg.norm(stopped.x - truth) < np.linalg.norm(fitted.x - truth)


def test_iterate_counts_and_yields_every_step() -> None:
    A, data, _, x = problem()
    f = Gaussian(data) @ A
    seen = [s.iteration for s in iterate(Cgls(), f, x, 4)]
    assert seen == [1, 2, 3, 4]
    done = solve(Cgls(), f, x, 4)
    assert list(iterate(Cgls(), f, done, 4)) == [] and solve(Cgls(), f, done, 4) is done
    assert len(solve(Cgls(), f, done, 6).history) == 6


class Explosive(Functional):
    """A functional whose gradient has the wrong sign."""

    def value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float((x * x).sum()) + 1, -x


# Poisson itself refuses NaN for counts, and so Osem.
@pytest.mark.parametrize("name", [n for n in SOLVERS if n not in ("Lbfgs", "Osem")])
def test_divergence_is_an_error(name: str) -> None:
    A, data, _, x = problem()
    broken = data.copy()
    broken[0, 0] = np.nan
    with pytest.raises(Diverged, match=r"diverged: the objective is nan after 1 iterations|objective is not finite"):
        solve(SOLVERS[name], Gaussian(broken) @ A, x, 5)


def test_a_wrong_gradient_is_noticed() -> None:
    for solver in (Gradient(), Lbfgs()):
        with pytest.raises(Diverged, match="no step against the gradient lowers the objective"):
            solve(solver, Explosive(), np.ones(3), 5)
    with pytest.raises(Diverged, match=r"Made up diverged: the objective is 5000 after 2 iterations, it was 4 after"):
        check_convergence(states([4.0, 5000.0]))


# ---- checkpoints ----------------------------------------------------------------------------------------


def test_checkpoint_keeps_every_kind_of_value(tmp_path: Path) -> None:
    x = {"volume": np.arange(6, dtype="float32").reshape(2, 3), "frames": np.eye(2) * 1j}
    memory = {
        "t": 1 / 3,
        "none": None,
        "text": "µ",
        "nested": {"a": np.arange(3), "0": {"inf": float("inf")}},
        "empty": {},
    }
    state = State("Some", x, 3, memory, ({"value": 0.1}, {"value": float("nan")}))
    save(tmp_path / "s", state)
    again = load(tmp_path / "s")
    assert bits(again.x) == bits(x) and bits(again.memory) == bits(memory)
    assert (again.solver, again.iteration, again.history[0]) == ("Some", 3, {"value": 0.1})
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.npz"
    save(path, State("One", np.ones(3)))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, State("Two", np.ones(3)))
    assert load(path).solver == "One" and [p.name for p in tmp_path.iterdir()] == ["s.npz"]


def test_checkpoint_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"State: memory.f: expected an array, number"):
        save(tmp_path / "s", State("S", np.ones(1), memory={"f": object()}))
    with pytest.raises(TypeError, match="expected texts as keys"):
        save(tmp_path / "s", State("S", np.ones(1), memory={1: 2.0}))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"two arrays would be stored as 'memory.a.b'"):
        save(tmp_path / "s", State("S", np.ones(1), memory={"a.b": np.ones(1), "a": {"b": np.ones(1)}}))
    assert list(tmp_path.iterdir()) == []


def test_damaged_or_foreign_checkpoints_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    save(good, State("S", np.ones(1000)))
    whole = good.read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("flipped", whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:]),
        ("empty", b""),
        ("text", b"not a checkpoint"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: expected a tomodiff checkpoint"):
            load(path)
    np.savez(tmp_path / "foreign.npz", a=np.ones(2))
    with pytest.raises(DataError, match="expected a tomodiff checkpoint"):
        load(tmp_path / "foreign.npz")
    np.save(tmp_path / "plain.npy", np.ones(2))
    with pytest.raises(DataError, match="expected a tomodiff checkpoint"):
        load(tmp_path / "plain.npy")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")
