"""Ring removal by the methods of other groups, as algotom has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.extras import library
from tomodiff.prepare.record import expect_kind, record
from tomodiff.prepare.threads import each
from tomodiff.result import Dataset

Filter = Callable[[Any, NDArray[Any]], NDArray[Any]]

METHODS: Mapping[str, tuple[str, Filter]] = MappingProxyType(
    {
        "vo": (
            "sorting, large and dead stripes (Vo, Atwood & Drakopoulos 2018, Opt. Express 26, 28396)",
            lambda removal, sinogram: removal.remove_all_stripe(
                sinogram, snr=3.0, la_size=_odd(sinogram, 51), sm_size=_odd(sinogram, 21)
            ),
        ),
        "wavelet": (
            "wavelets and Fourier (Munch et al. 2009, Opt. Express 17, 8567)",
            lambda removal, sinogram: removal.remove_stripe_based_wavelet_fft(
                sinogram, level=min(5, int(np.log2(min(sinogram.shape) / 8))), size=1, wavelet_name="db5"
            ),
        ),
        "titarenko": (
            "regularisation (Titarenko, Withers & Yagola 2010, Appl. Math. Lett. 23, 1489)",
            lambda removal, sinogram: removal.remove_stripe_based_regularization(
                sinogram, alpha=0.0005, apply_log=False, sort=False
            ),
        ),
    }
)
"""Name -> what it is, and the call.  Window sizes and levels are algotom's defaults, held to the sinogram's size."""

FEWEST = 32
"""Views and columns below which these methods are not defined."""


def remove_stripes(dataset: Dataset, method: str, threads: int = 1) -> Dataset:
    """Line integrals (view, v, u) without stripes, by "vo", "wavelet" or "titarenko", row by row.

    These filters change more than one offset per pixel, and can change the object (docs/corrections.md compares
    them).  Needs the extra `stripes`.  ConfigError for fewer than 32 views or columns.
    """
    expect_kind(dataset, "remove_rings", "line_integrals")
    if method not in METHODS:
        raise ConfigError(f"rings: expected one of {', '.join(METHODS)}, got {method!r}")
    if min(dataset.data.shape[0], dataset.data.shape[2]) < FEWEST:
        views, _, columns = dataset.data.shape
        raise ConfigError(f"rings: {method} needs {FEWEST} views and columns, found {views} views of {columns} columns")
    removal = library("algotom.prep.removal", "stripes", f"rings: {method} needs", "algotom")
    what, call = METHODS[method]
    data = np.empty(dataset.data.shape, np.float32)

    def row(v: int) -> None:
        sinogram = np.ascontiguousarray(dataset.data[:, v], np.float32)
        with np.errstate(all="ignore"):  # columns of zeros are divided by themselves
            try:
                made = call(removal, sinogram)
            except ValueError as error:
                raise ConfigError(f"rings: {method}: row {v}: {error}") from error
        data[:, v] = np.where(np.isfinite(made), made, sinogram)

    each(row, data.shape[1], threads)
    changed = float(np.sqrt(np.mean((data - dataset.data) ** 2, dtype=np.float64)))
    line = f"{method}: {what}, changes of {changed:.3g} rms"
    return record(dataset.replace(data=data), "remove_rings", line, {"method": method, "change_rms": changed})


def _odd(sinogram: NDArray[Any], size: int) -> int:
    """A window's size, at most a quarter of the columns."""
    return min(size, sinogram.shape[1] // 4 | 1)
