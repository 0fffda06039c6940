"""Branch and bound: which poses of a search at low resolution can still win once higher frequencies are seen.

What shells beyond the search add to a pose's log-likelihood is at most, in all but one of a hundred images, what they
add to the true pose: sum of w |f P|^2 / 2 and as much noise as they hold, whose variance is sum of w |f P|^2 (Punjani,
Rubinstein, Fleet and Brubaker 2017, Nat. Methods 14, 290).  A pose is given up where even that would leave it behind
the best one as it stands.
"""

from __future__ import annotations

import numpy as np

from tomodiff.analytic.wiener import shell_means
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.search import Points, factors

Values = dict[str, np.ndarray]
CERTAINTY = 2.33
"""Standard deviations above which one of a hundred normal numbers lies."""


class Bound:
    """Upper bounds on what frequencies from `low` to `top` can add to poses against one map."""

    def __init__(
        self, data: ParticleData, slicer: Slicer, spectrum: Array, noise: np.ndarray, low: float, top: float
    ) -> None:
        every = Points.within(data.box, top)
        unseen = np.hypot(every.kx, every.ky) > low
        self.points = Points(data.box, every.kx[unseen], every.ky[unseen])
        self.data, self.slicer, self.spectrum = data, slicer, spectrum
        shell = self.points.shell
        self.weight = 2 / noise[:, np.minimum(shell, noise.shape[1] - 1)]
        size = data.operator.voxel * slicer.spectrum.n / (data.particles.pixel * data.box)
        power = shell_means(namespace(spectrum).abs(spectrum) ** 2, slicer.spectrum)
        radius = np.hypot(self.points.kx, self.points.ky) * size
        self.power = np.interp(radius, np.arange(len(power)), power)

    def open(self, part: np.ndarray, F: Array, best: Values, score: np.ndarray) -> np.ndarray:
        """(m, k) which of k poses to go on with, from their scores at low frequencies, the best one first.

        part, F: the particles (m,) and their transforms; best: parameters of all, with the best pose of these.
        """
        if not len(self.points.kx):
            return np.ones(score.shape, bool)
        f = to_numpy(factors(self.data, best, part, self.points))
        w = self.weight[self.data.particles.group[part]]
        expected = (w * np.abs(f) ** 2 * self.power).sum(1)
        most = expected / 2 + CERTAINTY * np.sqrt(expected)
        y = to_numpy(self.points.take(F))
        model = to_numpy(self.points.take(self.slicer.images(self.spectrum, self.data.records(best, part))))
        reached = (w * ((model.conj() * y).real - np.abs(model) ** 2 / 2)).sum(1)
        return np.asarray(score + most[:, None] >= (score[:, 0] + np.minimum(reached, most))[:, None])
