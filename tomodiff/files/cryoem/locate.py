"""Where the stacks are that a particle file names: projects get moved, and paths are relative to different folders."""

from __future__ import annotations

from pathlib import Path

from tomodiff.errors import DataError


def located(name: str, beside: Path, root: Path | str | None = None) -> Path:
    """The file `name`, looked for beside the file that names it, in the working folder, in `root`, then in the folders
    above the file (RELION's paths are relative to the project, which is one of them).

    DataError names all places that were tried.
    """
    tried = places(name, beside, root)
    for place in tried:
        if place.is_file():
            return place
    where = ", ".join(str(place) for place in tried)
    raise DataError(beside, f"image file {name}", "a file", f"none at {where}", "Name its folder with root=.")


def found_beside(name: str, beside: Path) -> Path | None:
    """The file `name` as one finds it who only knows the file that names it."""
    return next((place for place in places(name, beside, None) if place.is_file()), None)


def places(name: str, beside: Path, root: Path | str | None) -> list[Path]:
    """Where to look, each place once."""
    if Path(name).is_absolute():
        return [Path(name)]
    folder = beside.resolve().parent
    folders = [folder, Path.cwd(), *([Path(root)] if root is not None else []), *folder.parents]
    return list(dict.fromkeys(f / name for f in folders))
