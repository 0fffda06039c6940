"""Files appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scan_files import parallel_dataset, result
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import atomic, write, write_scan
from tomodiff.files.atomic import replacing
from tomodiff.files.volumes import hdf5 as volume_hdf5

FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device"), DataError, 3, "disk space"),
    (OSError("Can't write data (errno = 28, error message = 'No space left on device')"), DataError, 3, "disk space"),
    (OSError("1048576 requested and 786400 written"), DataError, 3, "disk space"),
    (PermissionError(errno.EACCES, "Permission denied"), ConfigError, 2, "Permission denied"),
    (OSError(errno.EROFS, "Read-only file system"), ConfigError, 2, "Read-only"),
    (OSError(errno.EIO, "Input/output error"), DataError, 3, "Input/output"),
]


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(("failure", "kind", "code", "message"), FAILURES)
def test_failures_are_explained_and_leave_no_trace(
    tmp_path: Path, failure: OSError, kind: type, code: int, message: str, folder: bool
) -> None:
    target = tmp_path / "out"
    with pytest.raises(kind, match=message) as caught, replacing(target, 10, folder=folder) as temporary:
        (temporary / "part" if folder else temporary).write_text("half")
        raise failure
    assert caught.value.exit_code == code
    assert str(target) in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError("bug"), SystemExit(1)])
def test_other_ends_pass_through_and_keep_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(type(failure)), replacing(target, 10) as temporary:
        temporary.write_text("new")
        raise failure
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_success_replaces_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with replacing(tmp_path / "a.txt", 10) as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
        assert temporary.suffix == ".txt" and temporary.parent == tmp_path
    assert (tmp_path / "a.txt").read_text() == "new"
    for text in ("first", "second"):
        with replacing(tmp_path / "folder", 10, folder=True) as temporary:
            (temporary / text).write_text(text)
        assert [p.name for p in (tmp_path / "folder").iterdir()] == [text]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_volume_interrupted_half_way(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(target: Path, *_: Any) -> None:
        target.write_bytes(b"half a file")
        raise KeyboardInterrupt

    write(tmp_path / "a.h5", result(rng))
    before = (tmp_path / "a.h5").read_bytes()
    monkeypatch.setattr(volume_hdf5, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.h5", result(rng))
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_too_little_space_is_known_before_writing(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"disk space: expected .* MB free, found 1 kB") as caught:
        write(tmp_path / "a.h5", result(rng))
    assert caught.value.exit_code == 3
    with pytest.raises(DataError, match="disk space"):
        write_scan(tmp_path / "b.h5", parallel_dataset(rng))
    assert not list(tmp_path.iterdir())


def test_no_folder_to_write_to(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="no folder") as caught:
        write(tmp_path / "nowhere" / "a.h5", result(rng))
    assert caught.value.exit_code == 2


def test_folder_without_permission(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="without permission"):
        write(tmp_path / "a.h5", result(rng))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path, rng: np.random.Generator) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="permission"):
            write(tmp_path / "a.h5", result(rng))
    finally:
        tmp_path.chmod(0o700)
