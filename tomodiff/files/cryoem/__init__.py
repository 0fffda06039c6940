"""Files of electron cryo-microscopy: particles, their images, density maps, tilt series."""

from tomodiff.files.cryoem.maps import read_map, write_map
from tomodiff.files.cryoem.read import convert, dialect, read_particles, write_particles
from tomodiff.files.cryoem.stack import Stack, batches, open_stack, stack_of, write_stack
from tomodiff.files.cryoem.star import StarFile, StarTable, read_star_file, star_table, write_star_file

__all__ = [
    "Stack",
    "StarFile",
    "StarTable",
    "batches",
    "convert",
    "dialect",
    "open_stack",
    "read_map",
    "read_particles",
    "read_star_file",
    "stack_of",
    "star_table",
    "write_map",
    "write_particles",
    "write_stack",
    "write_star_file",
]
