"""Parts from photographs: exact surfaces under a lamp and with shadows, and what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.files.photographs_writer import write_transforms
from tomodiff.files.pictures import write_picture
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.recipes.optical.parts import SOUGHT, Shown, fit_shown
from tomodiff.recipes.parts import Part, get, placed, replaced, unknowns
from tomodiff.recipes.yaml_tree import read_yaml
from tomodiff.simulate.solids import Light, Solid, looking, onto_sphere, photograph

DISTANCE, FOCAL = 60.0, 115.0
PIXEL = DISTANCE / FOCAL
"""Of a photograph, at the parts."""


def assembly() -> list[Part]:
    """A block, and an arm on a joint."""
    block = Part(
        "block", "box", np.array([6.0, 5.0, 4.0]), np.array([0.5, -0.8, -2.0]), np.array([3.0, -2.0, 12.0]), 1.0,
        None, SOUGHT, (0.6, 0.4, 0.3),
    )  # fmt: skip
    arm = Part(
        "arm", "capsule", np.array([1.2, 1.2, 4.0]), np.array([0.0, 0.0, 8.0]), np.array([20.0, 0.0, 0.0]), 1.0,
        "block", ("half", "turn_x", "colour"), (0.3, 0.5, 0.6),
    )  # fmt: skip
    return [block, arm]


def shots(parts: list[Part], rng: np.random.Generator, n: int, size: int = 1) -> list[Shown]:
    """Photographs of exact surfaces: pixels are means of 5 x 5 rays, with shadows, noise of half a percent; of so many
    times as many pixels."""
    of = zip(parts, placed(parts), strict=True)
    solids = [Solid(s.kind, s.half, s.pose, (float(r), float(g), float(b))) for p, s in of for r, g, b in [p.colour]]
    made = []
    for towards in onto_sphere(n, -0.1, 0.8):
        place = looking(DISTANCE * towards, np.array([0.5, 0.0, 1.0]))
        camera = Photograph((52 * size, 54 * size), (FOCAL * size, FOCAL * size), (27.0 * size, 26.0 * size), place)
        seen = photograph(camera, solids, [Light((0.3, -0.5, 0.8), 0.5)], 0.45, samples=5)
        made.append(Shown(seen.colours + 0.005 * rng.normal(size=seen.colours.shape), seen.opacity, camera))
    return made


def wrong(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    """Parts that are off by up to a pixel, 4 degrees and a tenth of the brightness where they are free."""
    names = unknowns(parts, SOUGHT)
    off = {"half": 0.3, "place": 0.6, "turn": 4.0, "colour": 0.1}
    values = [get(parts, n) + off[n.split(".")[1].split("_")[0]] * rng.uniform(-1, 1) for n in names]
    return replaced(parts, names, np.array(values))


def compare(found: list[Part], true: list[Part], pixel: float = PIXEL) -> None:
    """Lengths and places to 0.02 pixels, angles to 0.05 degrees."""
    for part, exact in zip(found, true, strict=True):
        assert np.abs(part.half - exact.half).max() < 0.02 * pixel, part.name
        assert np.abs(part.place - exact.place).max() < 0.02 * pixel, part.name
        assert np.abs(part.turn - exact.turn).max() < 0.05, part.name


@pytest.mark.slow
def test_an_assembly_is_measured_by_silhouettes(rng: np.random.Generator) -> None:
    true = assembly()
    found = fit_shown(shots(true, rng, 6), wrong(true, rng), silhouettes=True)
    compare(found.parts, true)
    assert set(found.deviations) == {name for name in unknowns(true, SOUGHT) if ".colour_" not in name}
    assert max(d for n, d in found.deviations.items() if "half" in n or "place" in n) < 0.02 * PIXEL


@pytest.mark.slow
def test_an_assembly_is_measured_under_an_unknown_light(rng: np.random.Generator) -> None:
    """Shadows and edges of the light, which nine harmonics do not have, move nothing by more than that."""
    true = assembly()
    found = fit_shown(shots(true, rng, 8, 2), wrong(true, rng))
    compare(found.parts, true, PIXEL / 2)
    ratios = np.array([np.divide(p.colour, q.colour) for p, q in zip(found.parts, true, strict=True)])
    assert np.ptp(ratios) < 0.03 * ratios.mean()  # colours are known up to how bright the light is


@pytest.mark.slow
def test_large_photographs_are_compared_at_their_edges(rng: np.random.Generator) -> None:
    """More pixels than are compared all over: finer levels look at edges alone, and come further than whole ones."""
    true = assembly()
    found = fit_shown(shots(true, rng, 4, 6), wrong(true, rng), silhouettes=True)
    compare(found.parts, true, PIXEL / 6)
    assert found.pictures[0][0].shape == (52 * 6 // 2, 54 * 6 // 2, 1)


def test_the_command(tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    """Opaque photographs on a plain background."""
    ball = Part("b", "sphere", np.full(3, 5.0), np.array([1.0, 2.0, 0.0]), np.zeros(3), 1.0, None, (), (0.7, 0.6, 0.2))
    taken = shots([ball], rng, 4)
    for i, shot in enumerate(taken):
        assert shot.opacity is not None
        write_picture(tmp_path / f"{i}.png", (shot.colours + 0.9 * (1 - shot.opacity[..., None])).clip(0, 1))
    write_transforms(tmp_path / "transforms.json", [f"{i}.png" for i in range(4)], [shot.camera for shot in taken])
    parts = tmp_path / "parts.yml"
    parts.write_text("parts:\n- {name: ball, kind: sphere, half: [4.7, 4.7, 4.7], free: [half, place, colour]}\n")
    told = [
        "optical",
        "parts",
        str(tmp_path / "transforms.json"),
        str(parts),
        "-o",
        str(tmp_path / "fitted.yml"),
        "--overwrite",
    ]
    assert main(told) == 0
    found = read_yaml(tmp_path / "fitted.yml").values["parts"][0]
    np.testing.assert_allclose(found["half_mm"], 5.0, atol=0.02 * PIXEL)
    np.testing.assert_allclose(found["place_mm"], [1, 2, 0], atol=0.02 * PIXEL)
    assert (tmp_path / "fitted.png").exists()
    for text, more, message in (
        ("{name: a, kind: cone, half: [1, 1, 1]}", [], "expected one of sphere"),
        ("{name: a, kind: box, half: [1, 1, 1], free: [size]}", [], "expected half"),
        ("{name: a, kind: box, half: [1, 1, 1], free: [density]}", [], "something that is free"),
        ("{name: a, kind: box, half: [1, 1, 1], place: [900, 0, 0]}", [], "expected some that show the parts"),
        ("{name: a, kind: box, half: [1, 1, 1]}", ["--silhouettes"], "photographs with opacity"),
        ("{name: a, kind: box, half: [1, 1, 1], colour: red}", [], "expected three numbers"),
    ):
        parts.write_text(f"parts:\n- {text}\n")
        assert main(told + more) == 2, text
        assert message in " ".join(capsys.readouterr().err.split())
