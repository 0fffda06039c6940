"""Real spherical harmonics of any degree, and how they change with direction."""

from __future__ import annotations

from math import factorial, pi, sqrt

from numpy.polynomial import Polynomial, legendre

from tomodiff.array import Array, namespace


def harmonics(directions: Array, degree: int) -> Array:
    """(n, (degree + 1)^2) orthonormal harmonics at unit vectors (n, 3), l rising and m from -l to l, with the signs of
    Condon and Shortley (Sloan 2008, Stupid Spherical Harmonics Tricks)."""
    powers = _powers(directions, degree)
    rows = [size * _value(legendre, powers[2]) * powers[m < 0][abs(m)] for m, size, legendre in _terms(degree)]
    return namespace(directions).stack(rows, axis=1).astype(directions.dtype)


def harmonic_slopes(directions: Array, degree: int) -> Array:
    """(n, (degree + 1)^2, 3) the slopes of `harmonics` in x, y and z, as polynomials in these."""
    xp, (even, odd, z) = namespace(directions), _powers(directions, degree)
    rows = []
    for m, size, of_z in _terms(degree):
        k, value, zero = abs(m), size * _value(of_z, z), 0 * z
        own, other = (odd, even) if m < 0 else (even, odd)
        in_x = k * value * own[k - 1] if k else zero
        in_y = (k if m < 0 else -k) * value * other[k - 1] if k else zero
        rows.append(xp.stack([in_x, in_y, size * _value(of_z.deriv(), z) * own[k]], axis=-1))
    return xp.stack(rows, axis=1).astype(directions.dtype)


def sky_factors(degree: int) -> list[float]:
    """What makes harmonics of `harmonics` those of skies, the first of which is 1, without the signs of Condon and
    Shortley."""
    return [(-1.0) ** abs(m) * sqrt(4 * pi) for el in range(degree + 1) for m in range(-el, el + 1)]


def _powers(directions: Array, degree: int) -> tuple[list[Array], list[Array], Array]:
    """Real and imaginary parts of the powers of x + i y, and z."""
    x, y, z = directions.T
    even, odd = [0 * x + 1], [0 * x]
    for _ in range(degree):
        even, odd = [*even, x * even[-1] - y * odd[-1]], [*odd, y * even[-1] + x * odd[-1]]
    return even, odd, z


def _terms(degree: int) -> list[tuple[int, float, Polynomial]]:
    """m, the factor, and the polynomial in z of each harmonic."""
    made = []
    for el in range(degree + 1):
        whole = Polynomial(legendre.leg2poly([0] * el + [1]))
        for m in range(-el, el + 1):
            k = abs(m)
            norm = sqrt((2 * el + 1) / (4 * pi) * (2 if k else 1) * factorial(el - k) / factorial(el + k))
            made.append((m, (-1) ** k * norm, whole.deriv(k) if k else whole))
    return made


def _value(polynomial: Polynomial, z: Array) -> Array:
    """Of Python's numbers, which keep single precision single."""
    made = 0 * z
    for factor in polynomial.coef[::-1]:
        made = made * z + float(factor)
    return made
