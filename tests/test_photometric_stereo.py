"""Normals under several lights: closed forms, and solids with shadows and gloss, traced exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomodiff.analytic.photometric_stereo import gloss, integrated, least_squares_normals, photometric_stereo
from tomodiff.cli.main import main
from tomodiff.files.pictures import write_picture
from tomodiff.simulate.solids import Solid, nearest

SIZE = 48


def lights_above(n: int, rng: np.random.Generator) -> np.ndarray:
    """Directions (n, 3) that are not near the horizon."""
    found = rng.normal(size=(20 * n, 3))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found[found[:, 2] > 0.3][:n]


def things(n: int, roughness: float, f0: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Solids from above, with two albedos, shadows that they cast and a gloss, under n lights, with noise."""
    lying = np.column_stack([np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]), [-0.45, -0.3, 0.8]])
    solids = [
        Solid("ellipsoid", (1.0, 1.0, 0.8), np.eye(3, 4)),
        Solid("ellipsoid", (0.35, 0.35, 0.35), np.column_stack([np.eye(3), [0.5, 0.4, 0.75]])),
        Solid("capsule", (0.15, 0.15, 0.3), lying),
    ]
    along = (np.arange(SIZE) + 0.5) / SIZE * 2.2 - 1.1
    x, y = (a.ravel() for a in np.meshgrid(along, -along))
    origins, down = np.stack([x, y, np.full_like(x, 5.0)], axis=1), np.tile([0.0, 0.0, -1.0], (x.size, 1))
    t, which, normals = nearest(solids, origins, down)
    inside = which >= 0
    places, normals = (origins + np.where(inside, t, 0)[:, None] * down)[inside], normals[inside]
    albedo = 0.5 + 0.2 * np.sign(np.sin(9 * places[:, 0]) * np.sin(8 * places[:, 1]))
    lights = lights_above(n, rng)
    made = albedo * np.maximum(lights @ normals.T, 0) + gloss(normals, lights, roughness, f0)
    for i, light in enumerate(lights):
        shadow = nearest(solids, places + 1e-4 * normals, np.tile(light, (len(places), 1)))[0]
        made[i, np.isfinite(shadow)] = 0
    made = np.maximum(made + 0.005 * rng.normal(size=made.shape), 0)
    return {"pictures": made, "lights": lights, "normals": normals, "albedo": albedo, "inside": inside}


def mean_degrees(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((one * other).sum(axis=-1), -1, 1))).mean())


def test_a_matt_convex_body_is_exact(rng: np.random.Generator) -> None:
    normals = lights_above(50, rng)
    lights, albedo = lights_above(8, rng), rng.uniform(0.2, 0.9, len(normals))
    pictures = albedo * np.maximum(lights @ normals.T, 0)
    found = photometric_stereo(pictures, lights, glossy=False)
    good = (lights @ normals.T > 0).sum(axis=0) >= 4  # three lights or more that are not in one plane reach it
    assert good.mean() > 0.9
    np.testing.assert_allclose(found.normals[good], normals[good], atol=1e-4)
    np.testing.assert_allclose(found.albedo[good], albedo[good], rtol=1e-4)


@pytest.mark.parametrize(("roughness", "f0", "n"), [(0.35, 0.02, 40), (0.5, 0.05, 40), (0.2, 0.1, 24)])
def test_shadows_and_gloss(roughness: float, f0: float, n: int, rng: np.random.Generator) -> None:
    """Mean errors below 4.5 degrees, and a quarter of plain least squares'; the lobe comes back."""
    made = things(n, roughness, f0, rng)
    found = photometric_stereo(made["pictures"], made["lights"])
    plain = mean_degrees(least_squares_normals(made["pictures"], made["lights"]), made["normals"])
    error = mean_degrees(found.normals, made["normals"])
    assert error < 4.5 and error < plain / 4
    assert np.sqrt(np.mean((found.albedo - made["albedo"]) ** 2)) < 0.03
    assert found.lobe is not None and found.lobe[0] == pytest.approx(roughness, rel=0.15)


def test_gloss_is_one_lobe_that_loses_no_light(rng: np.random.Generator) -> None:
    """Seen from ahead a white mirror's lobe sends back, but for shadowing, the facets that lie within 45 degrees: the
    part 1 / (1 + alpha^2) of GGX's distribution."""
    z, weights = np.polynomial.legendre.leggauss(800)
    z, weights = (z + 1) / 2, weights / 2
    lights = np.stack([np.sqrt(1 - z * z), 0 * z, z], axis=1)
    for roughness in (0.3, 0.6, 1.0):
        sent = 2 * (weights * gloss(np.array([[0.0, 0.0, 1.0]]), lights, roughness, 1.0)[:, 0]).sum()
        assert 0.6 < sent * (1 + roughness**4) < 1 + 1e-6
    assert sent == pytest.approx(1 - np.log(2), abs=1e-5)  # facets in all directions alike, with their shadowing


def test_gloss_is_that_of_the_formula(rng: np.random.Generator) -> None:
    """Walter et al. 2007 in angles, shadowed as Heitz 2014 (J. Comput. Graph. Tech. 3, 2, eq. 99) has it; pi is that of
    brightness over white."""
    normals, lights, view = lights_above(7, rng), lights_above(5, rng), np.array([0.0, 0, 1])
    roughness, f0 = 0.4, 0.1
    alpha = roughness**2
    half = lights + view
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    tangent = np.tan(np.arccos(np.clip(half @ normals.T, -1, 1)))
    D = alpha**2 / (np.pi * (half @ normals.T) ** 4 * (alpha**2 + tangent**2) ** 2)

    def smith(cosine: np.ndarray) -> np.ndarray:
        return 0.5 * (np.sqrt(1 + alpha**2 * (1 / cosine**2 - 1)) - 1)

    nl, nv = lights @ normals.T, (normals @ view)[None]
    F = f0 + (1 - f0) * (1 - half @ view[:, None]) ** 5
    with np.errstate(all="ignore"):
        wanted = np.where(nl > 0, np.pi * D * F / (1 + smith(nl) + smith(nv)) / (4 * nv), 0)
    np.testing.assert_allclose(gloss(normals, lights, roughness, f0), wanted, rtol=1e-9, atol=1e-12)


def test_heights_of_a_known_surface() -> None:
    y, x = np.mgrid[:60, :80]
    heights = 6 * np.exp(-((x - 40) ** 2 + (y - 30) ** 2) / 200)
    up, right = -np.gradient(heights, axis=0), np.gradient(heights, axis=1)
    normals = np.stack([-right, -up, np.ones_like(right)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    found = integrated(normals, np.ones((60, 80), bool))
    np.testing.assert_allclose(found, heights - heights.mean(), atol=0.05)


def test_the_command(tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    made = things(20, 0.4, 0.016, rng)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, values in enumerate(made["pictures"]):
        picture = np.zeros(SIZE * SIZE)
        picture[made["inside"]] = values
        write_picture(folder / f"{i:03d}.png", picture.reshape(SIZE, SIZE))
    np.savetxt(tmp_path / "lights.txt", made["lights"])
    write_picture(tmp_path / "mask.png", made["inside"].reshape(SIZE, SIZE) * 1.0)
    told = [
        "optical",
        "normals",
        str(folder),
        "--lights",
        str(tmp_path / "lights.txt"),
        "-o",
        str(tmp_path / "out"),
        "--overwrite",
    ]
    assert main([*told, "--mask", str(tmp_path / "mask.png")]) == 0
    found = np.load(tmp_path / "out" / "normals.npy").reshape(-1, 3)[made["inside"]]
    assert mean_degrees(found, made["normals"]) < 4.5
    heights = np.load(tmp_path / "out" / "heights.npy")
    assert heights[SIZE // 2, SIZE // 2] > heights[3, SIZE // 2]
    assert (tmp_path / "out" / "albedo.png").exists() and "roughness" in (tmp_path / "out" / "found.json").read_text()
    relit(tmp_path, made, capsys)
    (tmp_path / "lights.txt").write_text("0 0 1\n" * 20)
    assert main(told) == 3
    assert "not in one plane" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "lights.txt").write_text("000.png 0 0 1\n")
    assert main(told) == 3
    assert "a direction for each of three pictures" in " ".join(capsys.readouterr().err.split())


def relit(folder: Path, made: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    """A light of the pictures again: near the exact picture, nearer than without shadows; bad lights are named."""
    told = ["optical", "relight", str(folder / "out"), "-o", str(folder / "relit.npy"), "--overwrite"]
    number = int(np.argmin(made["lights"][:, 2]))  # the lowest, with the longest shadows
    assert main([*told, "--light", ",".join(f"{v:.6f}" for v in made["lights"][number])]) == 0
    found = np.load(folder / "relit.npy").reshape(-1)[made["inside"]]
    exact = made["pictures"][number]
    plain = made["albedo"] * np.maximum(made["normals"] @ made["lights"][number], 0)
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.8 * np.sqrt(np.mean((plain - exact) ** 2))
    for light, message in (("1,2", "X,Y,Z"), ("0,1,-1", "above the picture"), ("a,b,c", "X,Y,Z")):
        assert main([*told, "--light", light]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["optical", "relight", str(folder / "pictures"), "--light", "0,0,1"]) == 3
    assert "normals.npy" in capsys.readouterr().err


def test_what_cannot_be() -> None:
    lights = np.eye(3)
    for pictures, given, message in (
        (np.ones((3, 4)), lights[:2], "expected pictures"),
        (np.full((3, 4), np.nan), lights, "finite"),
        (np.ones((2, 4)), lights[:2], "three lights or more"),
    ):
        with pytest.raises(ValueError, match=message):
            photometric_stereo(pictures, given)
