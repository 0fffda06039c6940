"""Colours on a terminal, and none where NO_COLOR asks for none (no-color.org)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel_folder import REPOSITORY

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9]+)*m")


def on_a_terminal(folder: Path, *arguments: str, **more: str) -> str:
    """What the command writes to a terminal, both streams."""
    ours, theirs = pty.openpty()
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm-256color", **more}
    env["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-m", "tomodiff", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=folder) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux's way to say that nobody writes any more
                break
            if not part:
                break
            said += part
    os.close(ours)
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("what", ["help", "bars"])
def test_no_color_is_respected(what: str, tmp_path: Path) -> None:
    scan = str(REPOSITORY / "datasets" / "ct_sample.h5")
    job = ("ct", "reconstruct", scan, "--bin", "8", "--method", "sirt", "--set", "output.report=false", "-o")
    shown, plain = (("ct", "--help"),) * 2 if what == "help" else ((*job, "a.h5"), (*job, "b.h5"))
    assert COLOUR.search(on_a_terminal(tmp_path, *shown))
    said = on_a_terminal(tmp_path, *plain, NO_COLOR="1")
    assert not COLOUR.search(said) and ("sirt" in said or "Usage" in said)
