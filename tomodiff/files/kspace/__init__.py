"""Raw data of magnetic resonance: `read_kspace` takes ISMRMRD and BART files."""

from tomodiff.files.kspace.kspace import KSpace
from tomodiff.files.kspace.reading import read_kspace

__all__ = ["KSpace", "read_kspace"]
