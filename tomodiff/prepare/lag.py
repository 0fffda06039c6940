"""Detector lag: what a flat panel still reads of earlier views.

The panel answers a flash with a sum of exponentials, h(k) = (1 - sum b_n) [k = 0] + sum b_n (1 - exp(-1 / tau_n))
exp(-k / tau_n) at the k-th view after it: share b_n of the signal comes late, over tau_n views.  As a linear filter in
time with one state per exponential it is undone view by view, without waiting for later ones (Hsieh, Gurmen & King
2000, IEEE Trans. Med. Imaging 19, 930).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.prepare.record import expect_kind, record
from tomodiff.result import Dataset

Terms = Sequence[tuple[float, float]]
"""(share, views) of each exponential."""


def remove_lag(dataset: Dataset, terms: Terms) -> Dataset:
    """Transmissions (view, v, u), in the order in which they were taken, without what earlier views left behind.

    terms: (share of the signal that comes late, views over which it decays to 1/e) of each exponential.  Before the
    first view the detector is taken to have seen just that view for long (the sample at rest in the beam).  A value
    that is not finite stays so and is taken for the one before it by later views.
    """
    expect_kind(dataset, "remove_lag", "transmission")
    shares, decays = check_terms(terms)
    signal = np.nan_to_num(np.asarray(dataset.data[0], np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    states = [signal * float(share) for share in shares]  # what is stored of a steady signal of 1
    now = 1 - float((shares * decays).sum())  # the share of a view's own signal that is read in it
    result = np.empty(dataset.data.shape, np.float32)
    for k, view in enumerate(dataset.data):
        late = sum(decay * state for decay, state in zip(map(float, decays), states, strict=True))
        result[k] = (view - late) / now
        signal = np.where(np.isfinite(result[k]), result[k], signal)
        for n, (share, decay) in enumerate(zip(map(float, shares), map(float, decays), strict=True)):
            states[n] = decay * states[n] + share * (1 - decay) * signal
    changes = result - dataset.data
    changes = changes[np.isfinite(changes)]
    changed = float(np.sqrt(np.mean(changes**2, dtype=np.float64))) if changes.size else 0.0
    numbers = {"terms": [[float(a), float(b)] for a, b in terms], "change_rms": changed}
    line = f"{len(shares)} exponentials with {shares.sum():.3g} of the signal, changes of {changed:.2g} rms"
    return record(dataset.replace(data=result), "remove_lag", line, numbers)


def check_terms(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """The shares, and how much of a state is left after one view.  ConfigError where no detector answers so."""
    table = np.asarray(terms, np.float64)
    if table.ndim != 2 or table.shape[1:] != (2,) or not len(table) or not np.isfinite(table).all():
        raise ConfigError(f"lag: expected pairs (share, views), got {terms}")
    if (table <= 0).any() or table[:, 0].sum() >= 1:
        raise ConfigError(f"lag: expected shares above 0 that sum to less than 1, over more than 0 views, got {terms}")
    return table[:, 0], np.exp(-1 / table[:, 1])
