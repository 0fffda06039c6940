"""What other systems lack is not needed: the package in a Python without what Windows, or macOS, does not have.

No test runs on those systems; this one takes away, before anything is imported, what their Pythons are without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel_folder import REPOSITORY

WITHOUT = {
    "windows": ("os.sched_getaffinity os.getuid os.sysconf signal.SIGUSR1 signal.SIGKILL", "resource fcntl pwd grp"),
    "macos": ("os.sched_getaffinity", ""),
}
"""Names that are missing there, and modules."""

CODE = """
import os, shutil, signal, sys
names, modules = sys.argv[1].split(), sys.argv[2].split()
import getpass, multiprocessing, subprocess, tempfile, numpy, scipy.optimize, h5py, matplotlib.figure  # may use them
for name in names:
    home, _, key = name.partition(".")
    delattr({"os": os, "signal": signal}[home], key)
for name in modules:
    sys.modules[name] = None
if "resource" in modules:  # Windows, which opens no folder
    opened, shutil._use_fd_functions = os.open, False
    def open_file(path, *more, **named):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *more, **named)
    os.open = open_file
import tomodiff
from tomodiff.cli.main import main
from tomodiff.recipes.environment import machine
from tomodiff.recipes.memory import free_bytes
assert machine()["cores"] >= 1 and free_bytes() > 0
assert main(["doctor"]) in (0, 1)
given = ["-q", "ct", "reconstruct", sys.argv[3], "-o", sys.argv[4], "--bin", "8", "--set", "output.report=false"]
sys.exit(main(given))
"""


@pytest.mark.parametrize("system", WITHOUT)
def test_a_scan_is_reconstructed_without_what_it_lacks(system: str, tmp_path: Path) -> None:
    out = tmp_path / "volume.h5"
    given = [*WITHOUT[system], str(REPOSITORY / "datasets" / "ct_sample.h5"), str(out)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", CODE, *given], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert out.exists()
