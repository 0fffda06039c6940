"""Every bad input gets a DataError that names the file, the field, what was expected and what was found."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.scan_files import COLUMNS, ROWS, VIEWS, cone_dataset, counts, parallel_dataset, write_foreign_dx
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read, read_truth, write_scan

THETA = np.arange(VIEWS) * 7.5


@pytest.mark.parametrize("suffix", [".h5", ".nxs"])
def test_truncated_hdf5(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_scan(path, parallel_dataset(rng))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for look in (read, probe):
        with pytest.raises(DataError, match=rf"a{suffix}: expected a complete HDF5 file, found a truncated one") as e:
            look(path)
        assert e.value.exit_code == 3


def test_damaged_pixels(tmp_path: Path, rng: np.random.Generator) -> None:
    """One byte of one compressed frame is wrong: the frames before it can still be read."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("exchange/data", data=counts(rng), chunks=(1, ROWS, COLUMNS), fletcher32=True)
        file["exchange/theta"] = THETA
        offset = data.id.get_chunk_info(20).byte_offset
    raw = bytearray((tmp_path / "a.h5").read_bytes())
    raw[offset] ^= 0xFF
    (tmp_path / "a.h5").write_bytes(raw)
    assert len(read(tmp_path / "a.h5", views=slice(0, 20)).data) == 20
    with pytest.raises(DataError, match="/exchange/data: expected readable pixels"):
        read(tmp_path / "a.h5")


def test_other_content_under_an_hdf5_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("<html>404 not found</html>")
    with pytest.raises(DataError, match="expected an HDF5 file, found another kind of file, starting with b'<html>40'"):
        read(tmp_path / "a.h5")
    (tmp_path / "empty.nxs").write_bytes(b"")
    with pytest.raises(DataError, match="HDF5"):
        read(tmp_path / "empty.nxs")


def test_hdf5_under_another_suffix_is_recognised(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "scan.data", counts(rng), THETA)
    assert read(path).data.shape == (VIEWS, ROWS, COLUMNS)


def test_unknown_format_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(b"something")
    with pytest.raises(DataError, match=r"suffix '\.xyz'.*Readable: APS Data Exchange.*NXtomo.*TIFF"):
        read(tmp_path / "a.xyz")
    with pytest.raises(DataError, match="nothing there"):
        read(tmp_path / "missing.h5")
    with pytest.raises(DataError, match="nothing there"):
        read(tmp_path / "none_*.tif")


def test_missing_dataset_lists_the_nearest(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA)
    with pytest.raises(DataError, match=r"/exchange/dta: expected a dataset, found nothing.*Nearest: /exchange/data"):
        read(path, data_path="/exchange/dta")
    with pytest.raises(DataError, match="/exchange: expected a dataset, found a group"):
        read(path, data_path="/exchange")


def test_unknown_layout_names_stacks(tmp_path: Path, rng: np.random.Generator) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan/camera/frames"] = counts(rng)
        file["scan/angles"] = THETA
    with pytest.raises(DataError, match=r"neither.*data_path.*for example /scan/camera/frames"):
        read(tmp_path / "a.h5")
    back = read(tmp_path / "a.h5", data_path="/scan/camera/frames", angles=f"{tmp_path}/a.h5:/scan/angles")
    np.testing.assert_allclose(back.scan.angles, np.deg2rad(THETA))


@pytest.mark.parametrize("shape", [(VIEWS,), (VIEWS, ROWS), (VIEWS, ROWS, COLUMNS, 3)])
def test_wrong_number_of_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", np.ones(shape), THETA)
    with pytest.raises(DataError, match=rf"/exchange/data: expected 3 axes .* found {len(shape)} axes"):
        read(path)


def test_empty_stack(tmp_path: Path) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", np.ones((0, ROWS, COLUMNS)), THETA)
    with pytest.raises(DataError, match="empty"):
        read(path)


@pytest.mark.parametrize(("dtype", "words"), [("c8", "complex"), ("S4", "text"), ("?", "booleans")])
def test_wrong_number_type(tmp_path: Path, dtype: str, words: str) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", np.zeros((VIEWS, ROWS, COLUMNS), dtype), THETA)
    with pytest.raises(DataError, match=f"/exchange/data: expected real numbers, found {words}"):
        read(path)


def test_angles_that_are_text(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA.astype("S8"))
    with pytest.raises(DataError, match="/exchange/theta: expected a row of real numbers"):
        read(path)


def test_flats_of_another_shape(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA, flats=np.ones((3, ROWS, COLUMNS + 1)))
    with pytest.raises(DataError, match=r"flats: expected frames of \(5, 7\) pixels .* found \(5, 8\)"):
        read(path)
    with pytest.raises(DataError, match=r"darks: expected frames of \(5, 7\)"):
        read(write_foreign_dx(tmp_path / "b.h5", counts(rng), THETA), darks=np.ones((2, 2)))


def test_no_angles(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), None)
    with pytest.raises(DataError, match=r"found no /exchange/theta.*angles="):
        read(path)
    assert probe(path).angles_deg is None
    assert len(read(path, angles=f"0:180:{VIEWS}").scan) == VIEWS


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA)
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read(path)


def test_permission_error_is_explained(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(DataError, match=r"a\.h5: expected a file that can be read, found Permission denied"):
        read(path)


def test_carried_geometry_that_does_not_fit(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.h5"
    write_scan(path, cone_dataset(rng))
    with h5py.File(path, "a") as file:
        part = file["exchange/data"][:5]
        del file["exchange/data"], file["measurement/tomodiff/weights"]
        file["exchange/data"] = part
    with pytest.raises(DataError, match=r"geometry: expected 5 views .* found 24 views"):
        read(path)
    with h5py.File(path, "a") as file:
        del file["measurement/tomodiff/scan"]
        file["measurement/tomodiff/scan"] = '{"type": "Spiral"}'
    with pytest.raises(DataError, match="Spiral"):
        read(path)
    with h5py.File(path, "a") as file:
        file["measurement/tomodiff/scan"][()] = "[1, 2]"
    with pytest.raises(DataError, match="expected a dict"):
        read(path)
    with h5py.File(path, "a") as file:
        file["measurement/tomodiff/scan"][()] = "{not json"
    with pytest.raises(DataError, match="JSON"):
        read(path)


def test_no_truth_in_a_file_of_others(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="truth"):
        read_truth(write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA))
    with pytest.raises(DataError, match="expected an HDF5 file, found No such file"):
        read_truth(tmp_path / "*.tif")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"rows": slice(3, 3)}, "rows: expected a part of 0:5"),
        ({"rows": slice(0, 6)}, "rows: expected a part of 0:5, found 0:6"),
        ({"rows": slice(0, 4, 2)}, "rows: expected a step of 1"),
        ({"views": slice(10, 2)}, "views"),
        ({"views": slice(None, None, -1)}, "views: expected a step of at least 1"),
        ({"rows": 3}, "rows: expected a slice"),
        ({"bin": 0}, "bin"),
        ({"bin": 6}, "bin: expected at most"),
        ({"bin": 2, "rows": slice(2, 3)}, r"binned by \(1, n\)"),
        ({"bin": 1.5}, "bin"),
        ({"pixel_mm": -1.0}, "pixel_mm"),
    ],
)
def test_requests_that_cannot_be(
    tmp_path: Path, rng: np.random.Generator, request_: dict[str, object], message: str
) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), THETA)
    with pytest.raises(ConfigError, match=message):
        read(path, **request_)  # type: ignore[arg-type]
    assert read(path, rows=slice(2, 3), bin=(1, 2)).data.shape == (VIEWS, 1, 3)
