"""Line integrals to a volume by the chosen method, with progress, checkpoints and a way to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tomodiff.analytic import fbp, feldkamp, gridding
from tomodiff.analytic.orbit import Orbit
from tomodiff.analytic.rebinning import is_helix
from tomodiff.array import Array, namespace
from tomodiff.core import Functional, Linear
from tomodiff.errors import ConfigError, Diverged
from tomodiff.geometry import Grid, Scan
from tomodiff.objective import Gaussian, HuberTotalVariation, Poisson, TotalVariation
from tomodiff.projectors import XRay
from tomodiff.ranks import ALONE, Comm, Spread, SpreadData, own_views
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.ct.given_volumes import given_start, mask_of
from tomodiff.recipes.ct.memory import ANALYTIC
from tomodiff.recipes.ct.metal import without_metal
from tomodiff.recipes.ct.settings import CtSettings, Reconstruction
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset
from tomodiff.solvers import (
    Cgls,
    Fista,
    Lsmr,
    MaxIterations,
    Osem,
    OsMomentum,
    OsSart,
    RelativeChange,
    Sirt,
    State,
    iterate,
)

TV_PER_NOISE = 1.0
"""Automatic weight of the total variation, over the noise that a voxel's gradient carries times the voxel size.

Of 0.1, 0.3, 1, 3 and 10 the best on every simulated scan tried (Shepp-Logan and sample, 40 and 180 views, 2e3 and 2e5
photons), none of which is scored anywhere.
"""


INVERSES: dict[str, Callable[..., Array]] = {"fbp": fbp, "fdk": feldkamp, "gridding": gridding}
SUBSETS = ("os-sart", "osem", "mlem", "pwls")
"""Methods that go through the views part by part; one process does so."""
WARM = ("fista-tv", "pwls")
"""Methods whose minimum does not depend on where they start: they start at the analytic inverse."""
COUNTED = ("osem", "mlem")
"""Methods that take line integrals as if they had been counted: they never become negative."""
EDGE = 0.005
"""Automatic edge of the Huber prior, as a part of the densest voxels' attenuation: a thin line between flat and noisy,
below the contrast of soft tissue."""
PROX_ITERATIONS = 20
"""Dual iterations of each TV step, from where the last one ended."""


def invert(
    data: Dataset,
    grid: Grid,
    method: str,
    settings: CtSettings,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
    resume: bool = True,
    padding: str | None = None,
    whole: Scan | None = None,
) -> Array:
    """The volume (z, y, x) of attenuation in 1/mm, on the device.

    padding: of the analytic filter beyond the detector, where that is decided already (see `padding_for`).
    Iterative methods log every iteration to the run and leave a checkpoint there from time to time, and when Ctrl-C or
    SIGTERM asks them to stop; with `resume` they go on from one that is there.  Of several ranks each has the data of
    its own views (`own_views`), and `whole` is the scan of all; all get the volume.
    """
    chosen, comm, whole = settings.reconstruction, run.comm, whole or data.scan
    values = device(np.ascontiguousarray(data.data, dtype=chosen.dtype))

    def analytic(by: str, window: str) -> Array:
        edge = padding or padding_for(values, comm)
        return analytic_inverse(by, values, whole, grid, window, progress, edge, comm)

    metal = None
    if chosen.metal is not None:
        first = analytic("fbp" if whole.kind == "parallel" else "fdk", "hann")
        values, metal = without_metal(values, XRay(grid, data.scan, chosen.model, chosen.dtype), first, chosen.metal)
        run.record(metal_voxels=int(metal.sum()))
    mask = mask_of(chosen, grid, namespace(values))
    if method in ANALYTIC:
        warn_of_analytic(method, data, whole, run)
        volume = analytic(method, chosen.window)
    else:
        volume = _iterated(data, values, mask, grid, method, settings, run, progress, device, resume, whole)
    if metal is not None:
        volume = namespace(volume).where(metal, first, volume)
    return volume if mask is None else volume * mask


def _iterated(
    data: Dataset,
    values: Array,
    mask: Array | None,
    grid: Grid,
    method: str,
    settings: CtSettings,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
    resume: bool,
    whole: Scan,
) -> Array:
    """The volume by an iterative method, from line integrals on the device."""
    chosen, comm = settings.reconstruction, run.comm
    A: Any = XRay(grid, data.scan, chosen.model, chosen.dtype)
    weights = None if data.weights is None else device(np.ascontiguousarray(data.weights, dtype=chosen.dtype))
    if method == "pwls" and weights is None:
        weights = photons_of(values)
    seen = A if mask is None else A @ Linear(A.domain, A.domain, lambda x: x * mask, lambda x: x * mask, "mask")
    if method in COUNTED:
        if weights is not None:
            run.warn(f"{method} has no use for the weights that come with the scan; the other iterative methods have")
        if mask is not None:  # what passes by the mask cannot be explained
            values = values * (A.forward(mask) > 0)
        misfit: Functional = Poisson(values.clip(0, None)) @ seen
    else:
        misfit = least_squares(seen, values, weights, comm)
    start: Any = Checkpoints(run).load(namespace(values)) if resume else None
    if start is None:
        start = first_estimate(method, whole, A, values, progress, comm)
        if chosen.start is not None:
            start = given_start(chosen.start, grid, start, positive=method in COUNTED)
    solver = make_solver(method, chosen, A, values, grid, run, weights)
    return run_solver(solver, misfit, start, method, settings, run, progress, grid.spacing)


def photons_of(values: Array) -> Array:
    """The inverse variance of line integrals, where photons make the noise: as many as of a beam of 1 arrive."""
    return namespace(values).exp(-values.clip(0, None))


def least_squares(A: Any, values: Array, weights: Array | None, comm: Comm = ALONE) -> Functional:
    """The misfit of all data, of which each rank has those of its own views, in values and A."""
    if comm.size == 1:
        return Gaussian(values, weights) @ A
    return Gaussian(Spread(values, comm), None if weights is None else Spread(weights, comm)) @ SpreadData(A, comm)


def warn_of_analytic(method: str, data: Dataset, whole: Scan, run: Run) -> None:
    """Say what an analytic inverse makes nothing of, and what it lacks."""
    if data.weights is not None:
        run.warn(f"{method} has no use for the weights that come with the scan; the iterative methods have")
    missing = np.rad2deg(Orbit.of(whole).left_out(np.pi)) if whole.kind == "parallel" else 0.0
    if missing > 0.01:
        run.warn(f"the views leave {missing:.4g} of 180 degrees out: the values of {method} are too low, and it smears")


def analytic_inverse(
    method: str,
    values: Array,
    scan: Scan,
    grid: Grid,
    window: str,
    progress: Progress,
    padding: str,
    comm: Comm = ALONE,
) -> Array:
    """FBP or FDK with a progress bar; the sum of what the views of each rank give."""
    unit = "slice" if method == "gridding" or is_helix(scan) else "view"
    with progress.stage(method, unit=unit) as stage:
        made = INVERSES[method](values, scan, grid, window, padding, stage.reach, own_views(comm))
    return comm.sum(made)[0]


def padding_for(values: Array, comm: Comm = ALONE) -> str:
    """How the analytic filter continues the data: an object that leaves the field of view goes on beyond it."""
    return "edge" if comm.any(leaves_the_view(values)) else "zero"


def first_estimate(method: str, scan: Scan, A: XRay, values: Array, progress: Progress, comm: Comm = ALONE) -> Array:
    """Where an iteration starts: fista-tv and pwls at the analytic inverse without its negative values, where the
    geometry has one (the minimum does not depend on it, the way there is shorter); osem and mlem at the mean
    everywhere; the others at zero, which regularises them."""
    if method in WARM:
        analytic = "fbp" if scan.kind == "parallel" else "fdk"
        padding = padding_for(values, comm)
        try:
            made = analytic_inverse(analytic, values, scan, A.grid, "hann", progress, padding, comm)
            return made.clip(0, None)
        except ConfigError:  # a helix, tilts, too few angles
            pass
    if method in COUNTED:
        xp = namespace(values)
        ones = xp.ones(A.domain.shape, A.dtype)
        return ones * max(float(values.clip(0, None).mean() / A.forward(ones).mean()), np.finfo(A.dtype).tiny)
    return namespace(values).zeros(A.domain.shape, A.dtype)


def leaves_the_view(values: Array, threshold: float = 0.05) -> bool:
    """Whether the object reaches the detector's left or right edge: its integrals there exceed 5 % of the largest."""
    xp = namespace(values)
    thinned = values[:: max(1, values.shape[0] // 32)]
    largest = float(xp.percentile(xp.abs(thinned), 99.5))
    edges = max(abs(float(thinned[..., :3].mean())), abs(float(thinned[..., -3:].mean())))
    return edges > threshold * largest


def make_solver(
    method: str,
    chosen: Reconstruction,
    A: Any,
    values: Array,
    grid: Grid,
    run: Run,
    weights: Array | None = None,
) -> Any:
    """The solver of an iterative method; what is automatic about its prior is found here and recorded in the run."""
    low = 0.0 if chosen.non_negative else None
    if method == "sirt":
        return Sirt(relaxation=chosen.relaxation or 1.0, low=low)
    if method in ("cgls", "lsmr"):
        return Cgls() if method == "cgls" else Lsmr()
    if method in ("os-sart", *COUNTED):
        count = min(chosen.subsets or 1, A.range.shape[0])
        return Osem(count) if method in COUNTED else OsSart(count, chosen.relaxation or 1.0, low=low)
    weight = chosen.tv_weight
    if not isinstance(weight, int | float):
        weight = automatic_tv_weight(A, values, grid, run.comm, weights)
    run.record(tv_weight=float(weight))
    if method == "pwls":
        edge = chosen.edge if isinstance(chosen.edge, int | float) else automatic_edge(A, values, grid)
        run.record(edge=float(edge))
        prior = float(weight) * HuberTotalVariation(float(edge), grid.spacing)
        return OsMomentum(prior, min(chosen.subsets or 1, A.range.shape[0]), low=low)
    return Fista(prior=float(weight) * TotalVariation(grid.spacing, low=low, iterations=PROX_ITERATIONS))


def automatic_edge(A: XRay, values: Array, grid: Grid) -> float:
    """The gradient in 1/mm per mm below which the prior of pwls smooths and does not preserve: from one voxel to the
    next, `EDGE` of what the densest voxels hold after one step from zero, which is blurred but has the right mean."""
    ones = namespace(values).ones(A.domain.shape, A.dtype)
    sums = A.adjoint(A.forward(ones))
    estimate = A.adjoint(values) / sums.clip(float(sums.max()) * 1e-3, None)
    return EDGE * (float(namespace(values).percentile(abs(estimate), 99.5)) or 1.0) / min(grid.spacing)


def automatic_tv_weight(A: XRay, values: Array, grid: Grid, comm: Comm = ALONE, weights: Array | None = None) -> float:
    """The weight at which the pull of the total variation balances the noise in the gradient of the misfit.

    The noise of the data, from their second differences along a row (immune to what is smooth), reaches a voxel
    through its column of A, whose norm random signs measure; TV pulls on it with weight / voxel size.  With weights
    both are those of data that are multiplied by their square roots.
    """
    xp = namespace(values)
    drawn = np.random.default_rng(comm.rank).integers(0, 2, A.range.shape).astype(A.dtype) * 2 - 1
    signs = xp.asarray(drawn)
    if weights is not None:
        root = xp.sqrt(weights)
        values, signs = values * root, signs * root
    reached, _ = comm.sum(A.adjoint(signs))
    middle = tuple(slice(n // 3, max(n // 3 + 1, 2 * n // 3)) for n in reached.shape)
    column_norm = float(reached[middle].std())
    noise = comm.total(noise_level(values)) / comm.size
    return TV_PER_NOISE * noise * column_norm * min(grid.spacing)


def noise_level(values: Array) -> float:
    """Standard deviation of the noise of (view, v, u), from the median size of second differences along u."""
    xp = namespace(values)
    thinned = values[:: max(1, values.shape[0] // 64)]
    if thinned.shape[-1] < 3:
        return 0.0
    curved = thinned[..., 2:] - 2 * thinned[..., 1:-1] + thinned[..., :-2]
    return float(xp.median(xp.abs(curved))) / 0.6745 / 6**0.5


def run_solver(
    solver: Any, misfit: Functional, start: Any, method: str, settings: CtSettings, run: Run, progress: Progress,
    spacing: Sequence[float] | None = None,
) -> Array:  # fmt: skip
    """Iterate from a first estimate, or from the State of a checkpoint, with all that a job does after each step.

    spacing: of the volume in mm, where what is sought is one that may be shown on its way."""
    chosen, checkpoints = settings.reconstruction, Checkpoints(run)
    stop: Any = MaxIterations(chosen.iterations or 1)
    if chosen.tolerance:
        stop = stop | RelativeChange(chosen.tolerance)
    begun = start.iteration if isinstance(start, State) else 0
    state = start
    with (
        progress.stage(method, total=chosen.iterations, unit="it", done=begun) as stage,
        run.interruptible(),
    ):
        try:
            for state in iterate(solver, misfit, start, stop):
                metrics = state.metrics
                run.log_metrics({"iteration": state.iteration, **{k: v for k, v in metrics.items() if k != "seconds"}})
                stage.advance(value=metrics["value"], change=metrics["relative_change"])
                if spacing is not None:
                    run.show(state.x, spacing, "attenuation", "1/mm")
                checkpoints.after_step(state)
        except Diverged as error:
            if not isinstance(state, State):
                raise
            checkpoints.keep(state)
            raise Diverged(f"{error}; the state after iteration {state.iteration} is kept in {run.path}") from error
    run.record(stopped_because=stop(state) if isinstance(state, State) else "no iteration was needed")
    return state.x if isinstance(state, State) else state
