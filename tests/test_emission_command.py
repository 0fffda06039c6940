"""`tomodiff optical emission` from files to volumes: a nebula in two bands, a flame, emission tomography."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.test_emission import blobs, body, measured
from tomodiff.cli.main import main
from tomodiff.files import read_volume, write, write_scan
from tomodiff.files.photographs_writer import write_transforms
from tomodiff.files.pictures import write_array
from tomodiff.files.sky_images import read_sky_image
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.projectors.axial import Axial
from tomodiff.recipes.optical.emission import EmissionMisfit, Seen
from tomodiff.result import Dataset, Result
from tomodiff.simulate.solids import looking

Field = Callable[[np.ndarray], np.ndarray]
PLACE = (83.8, -5.4)
POSITION, TILT = 40.0, 35.0
EXTINCTION = (1.0, 0.15)


def axis() -> np.ndarray:
    turn, tilt = np.radians([POSITION, TILT])
    return np.array([np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn), np.sin(tilt)])


def around_axis(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height = p @ axis()
    return np.sqrt(np.maximum((p**2).sum(axis=-1) - height**2, 0)), np.abs(height)


def gas(p: np.ndarray) -> np.ndarray:
    """Two lobes about an axis, and a core."""
    radius, height = around_axis(p)
    lobes = np.exp(-((radius - 4 - 0.25 * height) ** 2) / 4.5 - (height - 6) ** 2 / 32)
    return lobes + 0.8 * np.exp(-(radius**2 + height**2) / 8)


def dust(p: np.ndarray) -> np.ndarray:
    """A torus about its equator."""
    radius, height = around_axis(p)
    return 0.12 * np.exp(-((radius - 6) ** 2 + height**2) / 12.5)


def sky_light(x: np.ndarray, y: np.ndarray, extinction: float, step: float = 1 / 12) -> np.ndarray:
    """What is seen along z, from below, by midpoints of the functions themselves."""
    total, depth = np.zeros(x.shape), np.zeros(x.shape)
    for z in np.arange(-22 + step / 2, 22, step):
        p = np.stack([x, y, np.full(x.shape, z)], axis=-1)
        tau = step * extinction * dust(p)
        total += np.exp(-depth - tau / 2) * gas(p) * step
        depth += tau
    return total


def telescope(
    path: Path, pixels: int, scale: float, turned: float, extinction: float, rng: np.random.Generator
) -> None:
    """An image with a scale and an orientation of its own, with noise of half a percent of its brightest."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = PLACE, [(pixels + 1) / 2] * 2, [-scale / 3600, scale / 3600]
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    wcs.wcs.pc = [[c, -s], [s, c]]
    row, column = np.mgrid[:pixels, :pixels] - (pixels - 1) / 2
    # by hand: pixels turned, then degrees along axes that point west and north
    east, north = -scale * (c * column - s * row), scale * (s * column + c * row)
    image = sky_light(east, north, extinction)
    image += 0.005 * image.max() * rng.normal(size=image.shape)
    image[0, :3] = np.nan
    fits.writeto(path, image.astype(np.float32), wcs.to_header())


def found_error(path: Path, truth: Field) -> float:
    volume, grid, _ = read_volume(path)
    exact = truth(np.stack(grid.coordinates(), axis=-1)).reshape(volume.shape)
    return float(np.linalg.norm(volume - exact) / np.linalg.norm(exact))


@pytest.mark.slow
def test_a_nebula_in_two_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    """Gas to 5 %, from one direction, by its symmetry about an axis that is known: from FITS images of different
    pixels. Where dust is not sought, gas is far off."""
    telescope(tmp_path / "red.fits", 48, 0.7, 0.0, EXTINCTION[0], rng)
    telescope(tmp_path / "infrared.fits", 56, 0.62, 25.0, EXTINCTION[1], rng)
    text = f"""
images: {{sky: [red.fits, infrared.fits]}}
bands: {{extinction: [{EXTINCTION[0]}, {EXTINCTION[1]}]}}
axis: {{position_angle_deg: {POSITION}, tilt_deg: {TILT}, mirror: true}}
box: [-16, 16, -16, 16, -16, 16]
voxels: 40
absorption: ABSORPTION
"""
    errors = {}
    for word in ("fit", "none"):
        more = "fit: {iterations: 50}\n" if word == "fit" else "fit: {iterations: 50, smooth: 0.1}\n"
        (tmp_path / "nebula.yml").write_text(text.replace("ABSORPTION", word) + more)
        assert main(["optical", "emission", str(tmp_path / "nebula.yml"), "-o", str(tmp_path / word)]) == 0
        errors[word] = found_error(tmp_path / word / "emission.nii.gz", gas)
    assert errors["fit"] < 0.05 and errors["none"] > 0.1
    assert found_error(tmp_path / "fit" / "absorption.nii.gz", dust) < 0.5
    assert (tmp_path / "fit" / "image0.png").exists() and (tmp_path / "fit" / "emission.png").exists()
    assert json.loads((tmp_path / "fit" / "found.json").read_text())["rms"] < 0.05


def test_a_flame_from_a_few_cameras(tmp_path: Path, rng: np.random.Generator) -> None:
    """Eight cameras on a half circle: at most 5 % off."""
    views, cameras, scale = 8, [], 20.0
    for k in range(views):
        turn = np.pi * k / views
        place = 60.0 * np.array([np.cos(turn), np.sin(turn), 0.2])
        cameras.append(Photograph((44, 44), (88.0, 88.0), (22.0, 22.0), looking(place, np.zeros(3))))
        origins, directions = cameras[-1].rays()
        near = origins + 38 * directions
        picture = measured(near, directions, None) / scale
        picture += 0.005 * picture.max() * rng.normal(size=picture.shape)
        write_array(tmp_path / f"{k}.npy", picture.reshape(44, 44))
    write_transforms(tmp_path / "transforms.json", [f"{k}.npy" for k in range(views)], cameras)
    (tmp_path / "flame.yml").write_text(
        "images: {photographs: transforms.json}\nbox: [-12, 12, -12, 12, -12, 12]\nvoxels: 24\n"
    )
    assert main(["optical", "emission", str(tmp_path / "flame.yml"), "-o", str(tmp_path / "out")]) == 0
    error = found_error(tmp_path / "out" / "emission.nii.gz", lambda p: blobs(p) / scale)
    assert error < 0.05


@pytest.mark.slow
def test_emission_tomography_through_a_body(tmp_path: Path, rng: np.random.Generator) -> None:
    """SPECT: a scan file of collimated views, and a volume of what attenuates; at most 5 % off.  Without the latter
    it is far off, and a cone is no collimator."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    scan = ParallelBeam(angles, (24, 24), 1.0)
    origins, directions = (a.reshape(-1, 3) for a in np.broadcast_arrays(*scan.rays()))
    middle = origins - (origins * directions).sum(axis=1, keepdims=True) * directions
    data = measured(middle + 22 * directions, -directions, body)
    data = (data + 0.005 * data.max() * rng.normal(size=data.shape)).reshape(24, 24, 24).astype(np.float32)
    write_scan(tmp_path / "spect.nxs", Dataset(data, scan, "line_integrals"))
    grid = Grid((24, 24, 24), 1.0)
    kappa = body(np.stack(grid.coordinates(), axis=-1)).reshape(grid.shape)
    write(tmp_path / "kappa.nii.gz", Result(kappa.astype(np.float32), grid))
    config, errors = tmp_path / "spect.yml", {}
    for word in ("kappa.nii.gz", "none"):
        more = "fit: {iterations: 50}\n" if word != "none" else "fit: {iterations: 50, smooth: 1.0}\n"
        config.write_text(f"images: {{scan: spect.nxs}}\nvoxels: 24\nabsorption: {word}\n{more}")
        assert main(["optical", "emission", str(config), "-o", str(tmp_path / f"with {word}")]) == 0
        errors[word] = found_error(tmp_path / f"with {word}" / "emission.nii.gz", blobs)
    assert errors["kappa.nii.gz"] < 0.05 and errors["none"] > 0.2
    cone = ConeBeam(angles[:4], 50.0, 90.0, (24, 24), 1.0)
    write_scan(tmp_path / "spect.nxs", Dataset(data[:4], cone, "line_integrals"))
    assert main(["optical", "emission", str(config), "-o", str(tmp_path / "other")]) == 3


def test_slopes(rng: np.random.Generator) -> None:
    """Of the misfit in emission and absorption, all around an axis, of two bands with maps of their own."""
    grid = Grid((7, 8, 9), 1.0)
    ends = rng.normal(size=(40, 3))
    directions = ends / np.linalg.norm(ends, axis=1, keepdims=True)
    origins = rng.uniform(-2, 2, (40, 3)) - 15 * directions
    seen = [
        Seen(origins, directions, rng.random(40), 0.8, 1.0, 0), Seen(origins, directions, rng.random(40), 1.2, 0.5, 1),
    ]  # fmt: skip
    f = EmissionMisfit(grid, seen, Axial(grid, (0.2, 0.3, 0.9)), "fit", 0.1)
    x = {name: rng.uniform(0.2, 1.0, space.shape) for name, space in f.domain.items()}
    d = {name: rng.normal(size=a.shape) for name, a in x.items()}
    slope = sum(float((g * d[name]).sum()) for name, g in f.value_and_grad(x)[1].items())
    h = 1e-2  # the volumes are in single precision
    ahead, behind = (f.value_and_grad({n: x[n] + s * h * d[n] for n in x})[0] for s in (1, -1))
    assert slope == pytest.approx((ahead - behind) / (2 * h), rel=2e-3)


def test_coordinates_of_the_sky(tmp_path: Path, rng: np.random.Generator) -> None:
    """East to the left and north up where an image is not turned; a turned one sees the same light in the same
    place."""
    telescope(tmp_path / "a.fits", 31, 0.8, 0.0, 1.0, rng)
    telescope(tmp_path / "b.fits", 41, 0.6, 25.0, 1.0, rng)
    a = read_sky_image(tmp_path / "a.fits")
    b = read_sky_image(tmp_path / "b.fits", a.centre)
    np.testing.assert_allclose(a.east[15], -0.8 * (np.arange(31) - 15), atol=1e-4)
    np.testing.assert_allclose(a.north[:, 15], 0.8 * (np.arange(31) - 15), atol=1e-4)
    inside = np.isfinite(b.values)
    wanted = sky_light(b.east[inside], b.north[inside], 1.0)
    assert np.abs(b.values[inside] - wanted).max() < 0.03 * wanted.max()


SETTINGS = "images: {sky: [a.fits]}\nvoxels: 8\n"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("voxels: 8\n", 2, "expected one of photographs, scan and sky, got none"),
        (SETTINGS + "bands: {extinction: [1, 2]}\n", 2, "expected 1 numbers, one for each image, got 2"),
        (SETTINGS + "axis: {tilt_deg: 3}\n", 2, "either direction or position_angle_deg"),
        (SETTINGS + "axis: {direction: [0, 0, 0]}\n", 2, "axis of some length"),
        (SETTINGS + "box: [1, 0, 0, 1, 0, 1]\n", 2, "xmin < xmax"),
        (SETTINGS + "smooth: 3\n", 2, "smooth"),
        (SETTINGS + "absorption: other.nii.gz\n", 3, "other.nii.gz"),
        ("images: {sky: [plain.fits]}\n", 3, "celestial coordinates"),
        ("images: {sky: [cut.fits]}\n", 3, "cut.fits"),
        ("images: {scan: a.fits}\n", 3, "a.fits"),
    ],
)
def test_mistakes_are_named(
    text: str, code: int, message: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    telescope(tmp_path / "a.fits", 12, 2.0, 0.0, 0.0, rng)
    fits.writeto(tmp_path / "plain.fits", np.ones((4, 4), np.float32))
    (tmp_path / "cut.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:3000])
    (tmp_path / "config.yml").write_text(text)
    assert main(["optical", "emission", str(tmp_path / "config.yml"), "-o", str(tmp_path / "out")]) == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
