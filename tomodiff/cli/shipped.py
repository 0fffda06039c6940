"""Files that come with tomodiff beside its code: samples and the workflow."""

from __future__ import annotations

from pathlib import Path


def shipped(*names: str) -> Path:
    """A file of an installed package or of a clone, by its path from there.  ConfigError where it is missing."""
    import tomodiff
    from tomodiff.errors import ConfigError

    here = Path(tomodiff.__file__).resolve().parent
    places = [folder.joinpath(*names) for folder in (here, here.parent)]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ConfigError(f"{names[-1]} is missing from this installation; looked in {', '.join(map(str, places))}")
    return found
