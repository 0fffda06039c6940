"""Plain arrays with a YAML file beside them, and MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files import probe, read
from tomodiff.geometry import ConeBeam, FanBeam, ParallelBeam
from tomodiff.simulate import ellipsoid

N, COLUMNS = 90, 64
FAN = FanBeam(np.deg2rad(4.0 * np.arange(N)), 110, 300, COLUMNS, 1.5, detector_offset=0.27)
YAML = """\
kind: line_integrals
angles_deg: 0:360:90
pixel_mm: 1.5
source_axis_mm: 110
source_detector_mm: 300
detector_offset_mm: [0, 0.27]
"""


def sinogram() -> np.ndarray:
    """(view, u) of an ellipse off the middle."""
    made = ellipsoid((6.0, -4.0, 0.0), (9, 6, 400), 0.04).project(FAN, oversample=2)
    return np.asarray(made[:, 0], np.float32)


def save(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, other=np.ones(3), sinogram=array)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"sinogram": array, "other": 1})
    else:
        pytest.importorskip("PIL.Image").fromarray((array * 1e4).astype(np.uint16)).save(path)


@pytest.mark.parametrize("name", ["s.npy", "s.npz", "s.mat", "s.png"])
def test_a_sinogram_becomes_a_slice(name: str, tmp_path: Path) -> None:
    """Columns first in the file; attenuation where the ellipse is."""
    save(tmp_path / name, sinogram().T)
    more = "axes: u view\n" + ("array: sinogram\n" if name in ("s.npz", "s.mat") else "")
    (tmp_path / "s.yml").write_text(YAML + more)
    info = probe(tmp_path / name)
    assert info.shape == (N, 1, COLUMNS) and isinstance(info.scan, ConeBeam)
    np.testing.assert_allclose(info.scan.frames(), FAN.frames(), atol=1e-9)
    given = ["--center", "keep", "--rings", "off", "--set", "output.report=false", "-o", str(tmp_path / "v.npy")]
    assert main(["-q", "ct", "reconstruct", str(tmp_path / name), *given]) == 0
    volume = np.load(tmp_path / "v.npy")[0] / (1e4 if name == "s.png" else 1)
    y, x = (np.arange(n) - (n - 1) / 2 for n in volume.shape)
    inside = ((x - 6 / 0.55) ** 2 / (6 / 0.55) ** 2 + (y[:, None] + 4 / 0.55) ** 2 / (4 / 0.55) ** 2) < 1
    assert np.median(volume[inside]) == pytest.approx(0.04, rel=0.05)
    assert np.abs(np.median(volume[~inside])) < 0.004


def test_a_file_of_the_heltomo_toolbox(tmp_path: Path) -> None:
    data = {
        "type": "2D", "sinogram": sinogram(),
        "parameters": {"distanceSourceDetector": 300.0, "distanceSourceOrigin": 110.0,
                       "geometricMagnification": 300 / 110, "angles": 4.0 * np.arange(N),
                       "numDetectorsPost": COLUMNS, "effectivePixelSizePost": 1.5 * 110 / 300},
    }  # fmt: skip
    scipy.io.savemat(tmp_path / "s.mat", {"CtData": data})
    scan = read(tmp_path / "s.mat").scan
    centred = FanBeam(FAN.angles, 110, 300, COLUMNS, 1.5)
    np.testing.assert_allclose(scan.frames(), centred.frames(), atol=1e-9)
    scipy.io.savemat(tmp_path / "s.mat", {"CtData": data | {"type": "3D"}})
    with pytest.raises(DataError, match="2D scan"):
        read(tmp_path / "s.mat")


def test_angles_of_a_file_and_an_axis_off_the_middle(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.ones((12, 4, 8), np.uint16))
    (tmp_path / "turns.txt").write_text("\n".join(str(15 * i) for i in range(12)))
    (tmp_path / "s.yaml").write_text("angles_deg: turns.txt\npixel_mm: [0.5, 0.25]\naxis_column: 4.5\n")
    scan = read(tmp_path / "s.npy").scan
    assert isinstance(scan, ParallelBeam) and scan.axis_column == pytest.approx(4.5) and scan.pixel == (0.5, 0.25)


def test_without_yaml_the_command_line_says_it(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.ones((12, 4, 8), np.float32))
    with pytest.raises(DataError, match=r"no s\.yml beside it"):
        read(tmp_path / "s.npy")
    scan = read(tmp_path / "s.npy", angles="0:180:12", pixel_mm=0.5, kind="transmission").scan
    assert scan.pixel == (0.5, 0.5) and len(scan) == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pixel: 1\n", "pixel: expected one of kind, angles_deg"),
        ("pixel_mm: -1\n", "pixel_mm"),
        ("angles_deg: 0:360:7\n", "angles"),
        ("pixel_mm: 1\n", "angles_deg: expected start:stop:n"),
        ("angles_deg: 0:360:12\nsource_axis_mm: 5\n", "both, of a cone beam"),
        ("angles_deg: 0:360:12\naxes: v u\n", "axes: expected view v u"),
        ("angles_deg: nowhere.txt\n", "nowhere"),
        ("- 1\n", "layout"),
        ("a: [\n", "readable YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.ones((12, 4, 8), np.uint16))
    (tmp_path / "s.yml").write_text(text)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "s.npy")


@pytest.mark.parametrize("name", ["s.npy", "s.npz", "s.mat", "s.png"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    save(tmp_path / name, sinogram())
    (tmp_path / "s.yml").write_text(YAML + ("array: sinogram\n" if name in ("s.npz", "s.mat") else ""))
    whole: Any = (tmp_path / name).read_bytes()
    for size in (0, 5, 200, len(whole) // 2):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)
