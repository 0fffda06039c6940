"""A small writer of OLE compound files ([MS-CFB]): streams in storages, none in the mini stream."""

from __future__ import annotations

import struct
from pathlib import Path

SECTOR, LEAST, END, FREE, FAT = 512, 4096, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def write_ole(path: Path, streams: dict[str, bytes]) -> None:
    """Streams by their path, STORAGE/NAME."""
    padded = {name: data.ljust(max(LEAST, -(-len(data) // SECTOR) * SECTOR), b"\0") for name, data in streams.items()}
    storages = sorted({name.split("/")[0] for name in streams})
    n_entries = 1 + len(storages) + len(streams)
    directory = -(-n_entries // 4)
    total = directory + sum(len(data) // SECTOR for data in padded.values())
    fats = -(-(total + 8) // (SECTOR // 4 - 1))
    fat = [FAT] * fats

    def chained(sectors: int) -> int:
        start = len(fat)
        fat.extend([*range(start + 1, start + sectors), END])
        return start

    first = chained(directory)
    starts = {name: chained(len(data) // SECTOR) for name, data in padded.items()}
    entries = [_entry("Root Entry", 5, child=1)]
    at = 1 + len(storages)
    for number, storage in enumerate(storages, 1):
        inside = [name for name in padded if name.startswith(storage + "/")]
        following = number + 1 if number < len(storages) else FREE
        entries.append(_entry(storage, 1, right=following, child=at))
        at += len(inside)
    for storage in storages:
        inside = [name for name in padded if name.startswith(storage + "/")]
        for i, name in enumerate(inside):
            following = len(entries) + 1 if i + 1 < len(inside) else FREE
            kept = len(streams[name]) if len(streams[name]) >= LEAST else LEAST
            entries.append(_entry(name.split("/")[1], 2, right=following, start=starts[name], size=kept))
    body = b"".join(entries).ljust(directory * SECTOR, b"\0") + b"".join(padded.values())
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fats * SECTOR, b"\xff")
    numbers = (0x3E, 3, 0xFFFE, 9, 6, 0, fats, first, 0, LEAST, END, 0, END, 0)
    header = struct.pack("<8s16xHHHHH6xIIIIIIIII", bytes.fromhex("D0CF11E0A1B11AE1"), *numbers)
    header += struct.pack("<109I", *range(fats), *[FREE] * (109 - fats))
    path.write_bytes(header + table + body)


def _entry(name: str, kind: int, right: int = FREE, child: int = FREE, start: int = 0, size: int = 0) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII16xI16xIQ", text, len(text), kind, 1, FREE, right, child, 0, start, size)
