"""ISMRMRD, the raw data format that scanners' own are converted to (Inati et al. 2017, MRM 77, 411), read with h5py."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.hdf5 import open_hdf5
from tomodiff.files.kspace.kspace import KSpace

NOISE, CALIBRATION = 1 << 18, 1 << 19
"""Flags of acquisitions (ACQ_IS_NOISE_MEASUREMENT is bit 19 counted from 1, ACQ_IS_PARALLEL_CALIBRATION bit 20)."""
OTHERS = sum(1 << (bit - 1) for bit in (23, 24, 25, 26, 27, 28))
"""Acquisitions that are no image: navigators, phase corrections, dummies, feedback and surface coil data."""
SOUND = 1.02
"""Share of half a cycle per pixel that a trajectory may exceed it by."""
NEEDED = (
    "flags", "idx", "active_channels", "number_of_samples", "center_sample", "discard_pre", "discard_post",
    "trajectory_dimensions", "sample_time_us",
)  # fmt: skip
"""Fields of an acquisition's head that are used."""
FRAMES = ("repetition", "phase", "contrast", "set")
"""Counters that tell images in time from each other; the first that counts is taken."""


class Encoding(NamedTuple):
    """What the header says of sizes, axes in the order x, y, z."""

    encoded: tuple[int, int, int]
    encoded_mm: tuple[float, float, float]
    image: tuple[int, int, int]
    image_mm: tuple[float, float, float]
    centers: tuple[int, int]
    trajectory: str


def find_ismrmrd(file: h5py.File) -> str | None:
    """The group of a file that holds ISMRMRD's `data` and `xml`, None where there is none."""
    for name, group in file.items():
        if isinstance(group, h5py.Group) and "data" in group and "xml" in group:
            fields = group["data"].dtype.names
            if fields is not None and "head" in fields:
                return str(name)
    return None


def read_ismrmrd(path: Path, slice_number: int = 0, unit: str = "auto") -> KSpace:
    """One slice of an ISMRMRD file, whitened by its noise measurement where there is one.

    unit of the trajectory: "pixel" (cycles per pixel, to 0.5), "fov" (cycles per field of view), "radian" (per pixel),
    or "auto", told by its size: the format leaves it open.  Frames are repetitions, or phases, contrasts, sets.
    """
    with open_hdf5(path) as file:
        try:
            name = find_ismrmrd(file)
            if name is None:
                raise DataError(path, "", "a group with ISMRMRD's data and xml", f"{sorted(file)[:10]}")
            text, acquisitions = file[f"{name}/xml"][()], file[f"{name}/data"][()]
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:  # h5py's, for damaged files
            raise DataError(path, "data", "acquisitions that can be read", str(error)) from error
    encoding = _encoding(path, np.ravel(text)[0])
    missing = {"head", "traj", "data"} - set(acquisitions.dtype.names or ())
    missing |= set(NEEDED) - set(acquisitions["head"].dtype.names or () if not missing else NEEDED)
    if missing:
        raise DataError(path, f"{name}/data", "the fields of acquisitions", f"none called {', '.join(sorted(missing))}")
    head = acquisitions["head"]
    noise = (head["flags"] & NOISE) != 0
    chosen = ~noise & ((head["flags"] & OTHERS) == 0) & (head["idx"]["slice"] == slice_number)
    calibration = (head["flags"] & CALIBRATION) != 0
    if not chosen.any():
        raise DataError(path, f"slice {slice_number}", "acquisitions of an image", f"none of {len(head)}")
    coils = np.unique(head["active_channels"][chosen])
    samples = np.unique(head["number_of_samples"][chosen & ~calibration])
    if len(coils) != 1 or len(samples) != 1:
        found = f"{coils.tolist()} channels and {samples.tolist()} samples"
        raise DataError(path, "acquisitions", "the same channels and samples in all", found)
    images, radial = acquisitions[chosen], encoding.trajectory != "cartesian"
    parts = [_one(path, number, row, encoding, int(coils[0]), radial) for number, row in enumerate(images)]
    values, points, times = zip(*parts, strict=True)
    data, where, when = np.concatenate(values, axis=1), np.concatenate(points), np.concatenate(times)
    lengths = [len(part) for part in times]
    frame = np.repeat(_frames(head[chosen]), lengths)
    axes = [axis for axis in range(3) if encoding.image[axis] > 1 and np.ptp(where[:, axis]) > 0]
    if len(axes) < 2:
        raise DataError(path, "trajectory", "points along two axes or three", f"{len(axes)}")
    scaled, line = _in_cycles(path, where[:, axes], unit if radial else "pixel", [encoding.image[a] for a in axes])
    pixels = [mm / n if n else 0.0 for mm, n in zip(encoding.image_mm, encoding.image, strict=True)]
    history = [f"read {len(images)} acquisitions of {coils[0]} coils, slice {slice_number} of {path} (ISMRMRD)", line]
    if noise.any():
        data = _whitened(path, data, acquisitions[noise], int(coils[0]))
        history.append(f"whitened by {int(noise.sum())} noise measurements")
    return KSpace(
        np.ascontiguousarray(data, np.complex64),
        np.ascontiguousarray(scaled[:, ::-1]),
        tuple(encoding.image[a] for a in reversed(axes)),
        lengths[0] if len(set(lengths)) == 1 else 1,
        frame if frame.max() else None,
        times=when if np.isfinite(when).all() and when.max() > 0 else None,
        pixel_mm=tuple(pixels[a] for a in reversed(axes)),
        meta={"source": str(path), "format": "ISMRMRD", "trajectory": encoding.trajectory},
        history=tuple(history),
    )


def _one(
    path: Path, number: int, row: Any, encoding: Encoding, coils: int, free: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (coil, sample), points (sample, x y z) and times (sample) in s of one acquisition, without those that it
    says to discard."""
    head = row["head"]
    n, first, last = int(head["number_of_samples"]), int(head["discard_pre"]), int(head["discard_post"])
    if first + last >= n:
        found = f"{first} and {last} of {n} discarded"
        raise DataError(path, f"acquisition {number}", "samples that are kept", found)
    kept = slice(first, n - last)
    values = _samples(path, number, row["data"], coils, n)[:, kept]
    times = np.arange(n)[kept] * float(head["sample_time_us"]) * 1e-6
    return values, _points(path, number, row, encoding, free)[kept], times


def _frames(head: np.ndarray) -> np.ndarray:
    """The image in time of each acquisition, from 0."""
    for name in FRAMES:
        counter = head["idx"][name]
        if np.ptp(counter.astype(int)):
            numbers: np.ndarray = np.unique(counter, return_inverse=True)[1]
            return numbers
    return np.zeros(len(head), int)


def _samples(path: Path, number: int, raw: Any, coils: int, n: int) -> np.ndarray:
    """(coil, sample), complex, of one acquisition."""
    raw = np.asarray(raw, np.float32)
    if raw.size != 2 * coils * n:
        found = f"{raw.size} numbers"
        raise DataError(path, f"acquisition {number}", f"{2 * coils * n} numbers for {coils} coils of {n}", found)
    made: np.ndarray = raw.view(np.complex64).reshape(coils, n)
    return made


def _points(path: Path, number: int, acquisition: Any, encoding: Encoding, free: bool) -> np.ndarray:
    """Where the samples (sample, x y z) of one acquisition lie, in the file's unit; Cartesian ones in cycles per pixel
    of the image."""
    head, n = acquisition["head"], int(acquisition["head"]["number_of_samples"])
    made = np.zeros((n, 3))
    if free:
        axes, raw = int(head["trajectory_dimensions"]), np.asarray(acquisition["traj"], np.float64)
        if axes not in (2, 3) or raw.size != axes * n:
            found = f"{raw.size} numbers of {axes} dimensions"
            raise DataError(
                path, f"trajectory of acquisition {number}", f"2 or 3 numbers for each of {n} samples", found
            )
        made[:, :axes] = raw.reshape(n, axes)
        return made
    made[:, 0] = np.arange(n) - int(head["center_sample"])
    made[:, 1] = int(head["idx"]["kspace_encode_step_1"]) - encoding.centers[0]
    made[:, 2] = int(head["idx"]["kspace_encode_step_2"]) - encoding.centers[1]
    # cycles per field of view of the encoding, over which the image's pixels are spread
    return made / encoding.encoded_mm * np.divide(encoding.image_mm, encoding.image)


def _in_cycles(path: Path, where: np.ndarray, unit: str, sizes: list[int]) -> tuple[np.ndarray, str]:
    """A trajectory in cycles per pixel, and how it was understood."""
    furthest = float(np.abs(where).max())
    half = max(sizes) / 2
    factors = {"pixel": 1.0, "fov": 1 / (2 * half), "radian": 1 / (2 * np.pi)}
    reaches = {"pixel": 0.5, "radian": np.pi, "fov": half}
    if unit == "auto":
        near = [name for name, end in reaches.items() if 0.5 * end <= furthest <= SOUND * end]
        if len(near) != 1:
            wanted = f"at most 0.5 (cycles per pixel), pi (radians per pixel) or {half:g} (cycles per field of view)"
            hint = "Say which with --trajectory-unit"
            raise DataError(path, "trajectory", wanted, f"{furthest:.4g}", hint)
        unit = near[0]
    if furthest * factors[unit] > 0.5 * SOUND:
        raise DataError(path, "trajectory", f"at most {reaches[unit]:.4g} ({unit})", f"{furthest:.4g}")
    return where * factors[unit], f"trajectory to {furthest:.4g} taken as {unit}"


def _encoding(path: Path, text: Any) -> Encoding:
    """The sizes that the header names.  DataError where it does not."""
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, TypeError, ValueError) as error:
        raise DataError(path, "xml", "the ISMRMRD header", str(error)) from error
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]

    def numbers(place: str, kind: Any) -> Any:
        found = [root.findtext(f"encoding/{place}/{axis}") for axis in "xyz"]
        try:
            values = tuple(kind(float(value)) for value in found if value is not None)
        except ValueError:
            values = ()
        if len(values) != 3 or not all(np.isfinite(v) and v > 0 for v in values):
            raise DataError(path, f"xml: encoding/{place}", "three numbers above 0 in x, y and z", str(found))
        return values

    encoded, image = numbers("encodedSpace/matrixSize", int), numbers("reconSpace/matrixSize", int)
    centers = []
    for step, n in ((1, encoded[1]), (2, encoded[2])):
        found = root.findtext(f"encoding/encodingLimits/kspace_encoding_step_{step}/center")
        centers.append(n // 2 if found is None else int(float(found)))
    return Encoding(
        encoded,
        numbers("encodedSpace/fieldOfView_mm", float),
        image,
        numbers("reconSpace/fieldOfView_mm", float),
        (centers[0], centers[1]),
        (root.findtext("encoding/trajectory") or "cartesian").strip().lower(),
    )


def _whitened(path: Path, data: np.ndarray, noise: np.ndarray, coils: int) -> np.ndarray:
    """Coils mixed so that their noise is independent and of variance one (Pruessmann et al. 2001)."""
    samples = [
        _samples(path, i, one["data"], coils, int(one["head"]["number_of_samples"])) for i, one in enumerate(noise)
    ]
    values = np.concatenate(samples, axis=1).astype(np.complex128)
    covariance = values @ values.conj().T / values.shape[1]
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise DataError(path, "noise measurement", "noise in all coils", "coils without any, or copies") from error
    made: np.ndarray = np.linalg.solve(lower, data.astype(np.complex128))
    return made.astype(np.complex64)
