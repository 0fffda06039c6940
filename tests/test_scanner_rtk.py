"""Geometry and projections of RTK: its own numbers, kept here, and RTK itself where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files import probe, read
from tomodiff.files.scanners.rtk import read_xml
from tomodiff.geometry import ConeBeam, Vectors
from tomodiff.simulate import ellipsoid

SHAPE, ORIGIN, SPACING = (2, 20, 30), (-14.0, -9.5), (1.0, 1.1)
HEAD = '<?xml version="1.0"?>\n<!DOCTYPE RTKGEOMETRY>\n<RTKThreeDCircularGeometry version="3">\n'
TILTED = (
    HEAD
    + """\
    <SourceToIsocenterDistance>1000</SourceToIsocenterDistance>
    <SourceToDetectorDistance>1500</SourceToDetectorDistance>
  <Projection>
    <GantryAngle>30</GantryAngle>
    <SourceOffsetX>1.5</SourceOffsetX>
    <SourceOffsetY>-2.5</SourceOffsetY>
    <ProjectionOffsetX>5</ProjectionOffsetX>
    <ProjectionOffsetY>-3</ProjectionOffsetY>
    <InPlaneAngle>4</InPlaneAngle>
    <OutOfPlaneAngle>2</OutOfPlaneAngle>
    <Matrix>
          -1299.448497457   -104.448821739157    741.981331364914                5750
         64.7553027560747   -1495.45199153888   -97.1099467993497               -4250
        0.499695413509548  -0.034899496702501   0.865497844507677               -1000
    </Matrix>
  </Projection>
  <Projection>
    <GantryAngle>75</GantryAngle>
    <Matrix>
        -388.228567653781                   0     1448.8887394336                   0
                        0               -1500                   0                   0
        0.965925826289068                   0   0.258819045102521               -1000
    </Matrix>
  </Projection>
</RTKThreeDCircularGeometry>
"""
)
"""As RTK 2.7 wrote it (AddProjection(1000, 1500, 30, 5, -3, 2, 4, 1.5, -2.5), AddProjection(1000, 1500, 75))."""


BY_RTK = """\
import itk, json, sys
for views, file in zip(json.loads(sys.argv[1]), sys.argv[2:]):
    made = itk.RTK.ThreeDCircularProjectionGeometry.New()
    for view in views:
        made.AddProjection(*view)
    writer = itk.RTK.ThreeDCircularProjectionGeometryXMLFileWriter.New()
    writer.SetFilename(file)
    writer.SetObject(made)
    writer.WriteFile()
"""


def seen_by_rtk(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(v, u) in pixels of points in our room, by a matrix of RTK."""
    there = points @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # x, -z, y here is x, y, z there
    u, v, w = matrix @ np.vstack([there.T, np.ones(len(there))])
    return np.stack([(v / w - ORIGIN[1]) / SPACING[1], (u / w - ORIGIN[0]) / SPACING[0]], 1)


def matrices(text: str) -> list[np.ndarray]:
    parts = text.split("<Matrix>")[1:]
    return [np.array(part.split("</Matrix>")[0].split(), float).reshape(3, 4) for part in parts]


def test_points_fall_where_the_matrices_say(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "g.xml").write_text(TILTED)
    scan, points = read_xml(tmp_path / "g.xml", SHAPE, ORIGIN, SPACING), rng.uniform(-200, 200, (30, 3))
    assert isinstance(scan, Vectors)
    for seen, matrix in zip(scan.project(points), matrices(TILTED), strict=True):
        np.testing.assert_allclose(seen, seen_by_rtk(matrix, points), atol=1e-6)
    source = scan.frames()[1, :3]
    np.testing.assert_allclose(source, [1000 * np.sin(np.deg2rad(75)), -1000 * np.cos(np.deg2rad(75)), 0], atol=1e-6)


def circle(n: int, offset: tuple[float, float] = (4.0, -2.0)) -> str:
    """A geometry of a plain circle without matrices, with parameters of the first versions."""
    angle = "".join(f"<Projection><GantryAngle>{360 * i / n}</GantryAngle></Projection>" for i in range(n))
    shared = {"SourceToIsocenterDistance": 60, "SourceToDetectorDistance": 90, "ProjectionOffsetX": offset[0],
              "ProjectionOffsetY": offset[1]}  # fmt: skip
    return HEAD + "".join(f"<{k}>{v}</{k}>" for k, v in shared.items()) + angle + "</RTKThreeDCircularGeometry>"


def write_stack(path: Path, images: np.ndarray, origin: tuple[float, float], spacing: tuple[float, float]) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (the extra medical)")
    made = sitk.GetImageFromArray(images)
    made.SetOrigin((*origin, 0.0))
    made.SetSpacing((*spacing, 1.0))
    sitk.WriteImage(made, str(path))


def test_a_scan_is_reconstructed_from_its_files(tmp_path: Path) -> None:
    """Line integrals in a stack, the geometry beside it; fdk, since it is a circle."""
    n, (nv, nu) = 60, (30, 48)
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    scan = ConeBeam(angles, 60, 90, (nv, nu), (1.1, 1.0), detector_offset=(-2.0, 4.0))
    images = ellipsoid((3.0, -2.0, 1.5), (6, 5, 4), 0.05).project(scan, oversample=2).astype(np.float32)
    origin = (-(nu - 1) / 2 * 1.0, -(nv - 1) / 2 * 1.1)
    write_stack(tmp_path / "scan.mha", images, origin, (1.0, 1.1))
    (tmp_path / "scan.xml").write_text(circle(n))
    info = probe(tmp_path / "scan.mha")
    assert info.kind == "line_integrals" and isinstance(info.scan, ConeBeam)
    np.testing.assert_allclose(info.scan.frames(), scan.frames(), atol=1e-9)
    part = read(tmp_path / "scan.mha", views=slice(3, 50, 7), rows=slice(4, 9))
    np.testing.assert_array_equal(part.data, images[3:50:7, 4:9])
    given = ["--center", "keep", "--rings", "off", "--set", "output.report=false", "-o", str(tmp_path / "v.npy")]
    assert main(["-q", "ct", "reconstruct", str(tmp_path / "scan.xml"), *given]) == 0
    volume = np.load(tmp_path / "v.npy")
    assert np.median(volume[volume > 0.03]) == pytest.approx(0.05, rel=0.04)


@pytest.mark.slow
def test_rtk_sees_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    """Geometries that RTK makes and writes today, against its matrices."""
    pytest.importorskip("itk", reason="itk-rtk is not installed (the extra peers)")
    angles, files = range(0, 360, 40), [str(tmp_path / "tilted.xml"), str(tmp_path / "plain.xml")]
    tilted = [(400.0, 700.0, float(angle), *rng.uniform(-8, 8, 6)) for angle in angles]
    plain = [(400.0, 700.0, float(angle), 3.0, -1.0) for angle in angles]
    given = [sys.executable, "-c", BY_RTK, json.dumps([tilted, plain]), *files]
    subprocess.run(given, check=True, capture_output=True)  # a process of its own: RTK brings its own HDF5
    points = rng.uniform(-60, 60, (20, 3))
    for file, kind in zip(files, (Vectors, ConeBeam), strict=True):
        scan = read_xml(Path(file), (9, *SHAPE[1:]), ORIGIN, SPACING)
        assert isinstance(scan, kind)
        for seen, matrix in zip(scan.project(points), matrices(Path(file).read_text()), strict=True):
            np.testing.assert_allclose(seen, seen_by_rtk(matrix, points), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<not xml", "RTK geometry in XML"),
        ("<other/>", "RTKThreeDCircularGeometry"),
        (TILTED.replace("</RTKThree", "<Projection/></RTKThree"), "expected 2, as there are images, found 3"),
        (TILTED.replace("30<", "north<"), "Projection 1, GantryAngle: expected a number"),
        (TILTED.replace("-4250", ""), "Projection 1, Matrix: expected 3 x 4 numbers"),
        (TILTED.replace("<Projection>", "<RadiusCylindricalDetector>5</RadiusCylindricalDetector><Projection>", 1),
         "RadiusCylindricalDetector"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "g.xml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_xml(tmp_path / "g.xml", SHAPE, ORIGIN, SPACING)


def test_projections_need_their_geometry(tmp_path: Path) -> None:
    images: Any = np.ones(SHAPE, np.float32)
    write_stack(tmp_path / "scan.mha", images, ORIGIN, SPACING)
    with pytest.raises(DataError, match="one RTK geometry"):
        read(tmp_path / "scan.mha")
    (tmp_path / "g.xml").write_text(TILTED)
    assert read(tmp_path / "scan.mha").data.shape == SHAPE
    data = (tmp_path / "scan.mha").read_bytes()
    (tmp_path / "scan.mha").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"scan\.mha"):
        read(tmp_path / "scan.mha")
    (tmp_path / "scan.mha").write_bytes(b"not an image")
    with pytest.raises(DataError, match="readable MetaImage"):
        read(tmp_path / "scan.mha")
