"""The panel "Reconstruct CT": the command line's job in a process of its own, whose volume becomes a layer.

napari makes the widgets from the parameters, and adds the layers when they are there; its window stays alive meanwhile.
Annotations are values here, as magicgui reads them; napari's own, which is not imported, is a text that it resolves.
"""

import subprocess
import sys
from pathlib import Path
from typing import Literal

from tomodiff.errors import ConfigError, TomodiffError
from tomodiff.extras import library
from tomodiff.napari_plugin.layers import Layer, volume_layer

Method = Literal["auto", "fbp", "fdk", "gridding", "sirt", "cgls", "fista-tv", "pwls"]


def reconstruct(
    scan: Path,
    out: Path = Path("volume.h5"),
    method: Method = "auto",
    bin: int = 4,
    iterations: int = 0,
    replace: bool = False,
) -> "napari.qt.threading.FunctionWorker[list[napari.types.LayerDataTuple]]":  # type: ignore[name-defined]  # noqa: F821
    """The volume of a CT scan, as `tomodiff ct reconstruct` makes it; the run directory with the report lies beside it.

    bin: pixels averaged along rows and columns; iterations: 0 for the method's own number; replace: an earlier run.
    What goes wrong is shown by napari, in the command's own words.
    """
    command = command_of(Path(scan), Path(out), method, bin, iterations, replace)
    threading = library("napari.qt.threading", "napari", "the panel needs", "napari")
    return threading.create_worker(layers_of, command, Path(out), _progress={"desc": "tomodiff"}, _start_thread=True)


def command_of(scan: Path, out: Path, method: str, bin: int, iterations: int, replace: bool) -> list[str]:
    """The command line.  ConfigError for a scan that is not there."""
    if not scan.is_file() and not any(scan.glob("*")):
        raise ConfigError(f"scan: expected a file or a folder with one, found none at {scan}")
    given = ["ct", "reconstruct", str(scan), "-o", str(out), "--method", method, "--bin", str(max(1, bin))]
    given += ["--iterations", str(iterations)] if iterations > 0 else []
    return [sys.executable, "-m", "tomodiff", *given, *(["--overwrite"] if replace else [])]


def layers_of(command: list[str], out: Path) -> list[Layer]:
    """The volume that a command makes, once it has ended.  TomodiffError with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"
        raise TomodiffError(said)
    return [volume_layer(out)]
