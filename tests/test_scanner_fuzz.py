"""Files of scanners with bytes changed, taken out and put in: read, or refused by name; never anything else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.ole_writer import write_ole
from tests.test_scanner_arrays import YAML, save, sinogram
from tests.test_scanner_nikon import as_nikon_has_it
from tests.test_scanner_nikon import write_scan as write_nikon
from tests.test_scanner_rtk import ORIGIN, SHAPE, SPACING, TILTED, write_stack
from tests.test_scanner_stacks import write_edf
from tests.test_scanner_stacks import write_stack as write_stack_of_tilts
from tests.test_scanner_zeiss import streams
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read

TIMES = 120


def nikon(folder: Path) -> tuple[Path, Path]:
    path = write_nikon(folder, as_nikon_has_it())
    return path, path


def zeiss(folder: Path) -> tuple[Path, Path]:
    pytest.importorskip("olefile", reason="olefile is not installed (the extra scanners)")
    write_ole(folder / "s.txrm", streams(np.ones((6, 20, 30), "<u2")))
    return folder / "s.txrm", folder / "s.txrm"


def rtk(folder: Path) -> tuple[Path, Path]:
    write_stack(folder / "s.mha", np.ones(SHAPE, np.float32), ORIGIN, SPACING)
    (folder / "s.xml").write_text(TILTED)
    return folder / "s.mha", folder / "s.xml"


def stack(folder: Path) -> tuple[Path, Path]:
    path, _ = rtk(folder)
    return path, path


def arrays(suffix: str, changed: str = "") -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        save(folder / f"s.{suffix}", sinogram())
        (folder / "s.yml").write_text(YAML + ("array: sinogram\n" if suffix in ("npz", "mat") else ""))
        return folder / f"s.{suffix}", folder / (changed or f"s.{suffix}")

    return make


def ctpd(folder: Path) -> tuple[Path, Path]:
    pytest.importorskip("pydicom", reason="pydicom is not installed (the extra medical)")
    from tests.test_scanner_ctpd import write

    write(folder / "set", 4)
    return folder / "set", folder / "set" / "00001.dcm"


def edf(folder: Path) -> tuple[Path, Path]:
    made = write_edf(folder / "walnut")
    return made, made / "walnut0000.edf"


def edf_info(folder: Path) -> tuple[Path, Path]:
    made = write_edf(folder / "walnut")
    return made, made / "walnut.info"


def imod(folder: Path) -> tuple[Path, Path]:
    made = write_stack_of_tilts(folder / "a.st")
    return made, made


CASES = {
    "ctpd": ctpd, "edf": edf, "edf info": edf_info, "imod": imod, "nikon": nikon, "zeiss": zeiss, "rtk": rtk,
    "mha": stack, "npy": arrays("npy"), "npz": arrays("npz"), "mat": arrays("mat"), "png": arrays("png"),
    "yaml": arrays("npy", "s.yml"),
}  # fmt: skip


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """With a few bytes replaced, or some taken out or put in; near the start, where headers are, more often."""
    at = int(rng.integers(min(len(data), 1500)) if rng.random() < 0.7 else rng.integers(len(data)))
    length, how = int(rng.integers(1, 9)), rng.integers(4)
    put = rng.integers(0, 256, length, np.uint8).tobytes() if how else bytes(length)
    return data[:at] + (b"" if how == 3 else put) + data[at + (0 if how == 2 else length) :]


@pytest.mark.parametrize("name", list(CASES))
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path, file = CASES[name](tmp_path)
    whole, refused = file.read_bytes(), 0
    for _ in range(TIMES // 8 if name in ("mat", "edf", "edf info") else TIMES):  # a process, or a hundred files, each
        file.write_bytes(changed(whole, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that read them
            try:
                data = read(path, kind="counts") if name == "imod" else read(path)
            except (DataError, ConfigError) as error:
                refused += 1
                assert str(tmp_path) in str(error), error
            else:
                assert data.data.shape == (len(data.scan), *data.scan.detector_shape)
    assert refused or name == "png", "changes were too small to be a test"
