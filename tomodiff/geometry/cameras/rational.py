"""Rational polynomial cameras of Earth satellites, RPC00B."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.geometry.cameras.distortion import inverse_2x2
from tomodiff.geometry.cameras.ellipsoid import Ellipsoid

WGS84 = Ellipsoid(6378137.0, 6356752.314245179)
STEPS, CLOSE = 20, 1e-9


@dataclass(frozen=True, eq=False)
class Rational:
    """Offsets and scales of (column, row, longitude, latitude, height), degrees and metres; coefficients (4, 20) of
    the columns' numerator and denominator and the rows', in the order of RPC00B: 1, L, P, H, LP, LH, PH, LL, PP, HH,
    PLH, LLL, LPP, LHH, LLP, PPP, PHH, LLH, PPH, HHH.

    Columns and rows are whole numbers in the middles of pixels.  Source: STDI-0002, "RPC00B".
    """

    shape: tuple[int, int]
    offset: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    ellipsoid: Ellipsoid = WGS84

    def image_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows (2, n) at which positions (3, n) are seen, and their derivatives (2, 3, n), 1/m."""
        lon, lat, height = self.ellipsoid.geodetic(places)
        pixels, slopes = self.image_of_geodetic(lon, lat, height)
        east, north, up = self.ellipsoid.axes(lon, lat)
        across, along = self.ellipsoid.radii(lat)
        to_geodetic = np.stack([east / ((across + height) * np.cos(lat)), north / (along + height), up])
        return pixels, np.einsum("abn,bcn->acn", slopes, to_geodetic)

    def image_of_geodetic(self, lon: np.ndarray, lat: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of longitudes, latitudes (radians) and heights (n,), with derivatives by these."""
        units = np.array([180 / np.pi, 180 / np.pi, 1.0])
        turn = np.array([lon * units[0], lat * units[1], height]) - self.offset[2:, None]
        turn[0] = (turn[0] + 180) % 360 - 180
        terms, slopes = _terms(*(turn / self.scale[2:, None]))
        over = self.coefficients @ terms
        bent = np.einsum("ak,bkn->abn", self.coefficients, slopes)
        ratio = over[[0, 2]] / over[[1, 3]]
        by = (bent[[0, 2]] - ratio[:, None] * bent[[1, 3]]) / over[[1, 3]][:, None]
        size = self.scale[:2]
        made = size[:, None] * ratio + self.offset[:2, None]
        return made, size[:, None, None] * by * (units / self.scale[2:])[:, None]

    def ground_of(self, pixels: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes (n,) in radians that pixels (2, n) see at one height, by Newton's method."""
        ground = np.deg2rad(np.broadcast_to(self.offset[2:4, None], pixels.shape)).copy()
        at = np.full(pixels.shape[1], float(height))
        for _ in range(STEPS):
            found, slopes = self.image_of_geodetic(ground[0], ground[1], at)
            ground += np.einsum("abn,bn->an", inverse_2x2(slopes[:, :2]), pixels - found)
            if not np.abs(pixels - found).max(initial=0) > CLOSE:
                break
        return ground[0], ground[1]

    def within(self, places: np.ndarray) -> np.ndarray:
        """(n,) whether positions lie where the polynomials were fitted."""
        lon, lat, height = self.ellipsoid.geodetic(places)
        turn = np.array([np.rad2deg(lon), np.rad2deg(lat), height]) - self.offset[2:, None]
        turn[0] = (turn[0] + 180) % 360 - 180
        return np.asarray((np.abs(turn / self.scale[2:, None]) <= 1.1).all(0))


def _terms(L: np.ndarray, P: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The monomials (20, n) and their derivatives (3, 20, n)."""
    o, z = np.ones_like(L), np.zeros_like(L)
    made = [
        o, L, P, H, L * P, L * H, P * H, L * L, P * P, H * H, P * L * H, L**3, L * P * P, L * H * H, L * L * P, P**3,
        P * H * H, L * L * H, P * P * H, H**3,
    ]  # fmt: skip
    by_l = [
        z, o, z, z, P, H, z, 2 * L, z, z, P * H, 3 * L * L, P * P, H * H, 2 * L * P, z, z, 2 * L * H, z, z,
    ]  # fmt: skip
    by_p = [
        z, z, o, z, L, z, H, z, 2 * P, z, L * H, z, 2 * L * P, z, L * L, 3 * P * P, H * H, z, 2 * P * H, z,
    ]  # fmt: skip
    by_h = [
        z, z, z, o, z, L, P, z, z, 2 * H, P * L, z, z, 2 * L * H, z, z, 2 * P * H, L * L, P * P, 3 * H * H,
    ]  # fmt: skip
    return np.stack(made), np.stack([np.stack(by_l), np.stack(by_p), np.stack(by_h)])
