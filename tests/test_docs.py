"""What the documentation shows is true: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel_folder import REPOSITORY
from tomodiff.cli.main import ANYWHERE, main

PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "cuda_kernels/*.md", "datasets/*.md", "workflows/**/*.md")
    for page in sorted(REPOSITORY.glob(pattern))
    if not page.is_relative_to(REPOSITORY / "docs" / "generated")  # made of the code when the site is built
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)")


def blocks(language: str) -> list[tuple[str, str]]:
    """(page:line, text) of all fenced blocks of a language in the documentation."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _BLOCK.finditer(text):
            if match.group(1) == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append((f"{page.relative_to(REPOSITORY)}:{line}", match.group(2)))
    return found


def commands() -> list[tuple[str, str]]:
    """(page:line, command) of every `tomodiff ...` in a block without a language, comments left out."""
    return [
        (place, line.split("  #")[0].strip())
        for place, text in [*blocks(""), *blocks("bash"), *blocks("sh")]
        for line in text.replace("\\\n", " ").splitlines()
        if line.startswith("tomodiff ")
    ]


@pytest.mark.parametrize("code", [code for _, code in blocks("python")], ids=[place for place, _ in blocks("python")])
def test_python_examples_run(code: str, tmp_path: Path) -> None:
    if "import torch" in code:
        pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MPLBACKEND": "agg"},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_has_a_short_python_example() -> None:
    (example,) = [code for place, code in blocks("python") if place.startswith("README.md")]
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 12


@pytest.mark.parametrize(("place", "command"), commands(), ids=[f"{place} {c[:30]}" for place, c in commands()])
def test_commands_and_options_exist(place: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of the subcommand comes up, and names every option that the page uses."""
    words = re.split(r"\s[|>&]", command)[0].split()[1:]
    names = []
    for word in words:
        if not re.fullmatch(r"[a-z]+", word) or (names and names[-1] in ("demo", "init")):
            break
        names.append(word)
    assert main([*names, "--help"]) == 0, f"{place}: {command}"
    shown = capsys.readouterr().out
    for option in (word for word in shlex.split(command) if word.startswith("-") and word not in ANYWHERE):
        assert re.search(rf"(^|\s|,){re.escape(option.split('=')[0])}\b", shown), f"{place}: no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_every_dependency_is_told_of() -> None:
    """docs/dependencies.md names all that setup.cfg asks for, and nothing else; extras by the name they have there."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(REPOSITORY / "setup.cfg")
    page = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    tables, prose = page.partition("in the browser:")[::2]
    told = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", tables, re.MULTILINE) for name in row.split(",")}

    def asked(section: str, name: str) -> set[str]:
        lines = setup.get(section, name).splitlines()
        return {re.split(r"[>=<;\[ ]", line)[0].lower() for line in lines if line and not line.startswith(("%", "#"))}

    wanted = asked("options", "install_requires")
    extras = dict(setup.items("options.extras_require"))
    for extra in set(extras) - {"test", "dev", "peers"}:
        wanted |= asked("options.extras_require", extra)
        assert f"`{extra}`" in tables, extra
    assert wanted == told - {"library", "---"}
    for name in (asked("options.extras_require", "test") | asked("options.extras_require", "dev")) - wanted:
        assert re.search(rf"\b{re.escape(name)}\b", prose), name
