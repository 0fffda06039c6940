"""Write k-space as ISMRMRD: an acquisition for each readout, fields as in ismrmrd.h (Inati et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.files.atomic import replacing
from tomodiff.files.kspace.kspace import KSpace

_COUNTERS = [(name, "<u2") for name in (
    "kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition", "set",
    "segment",
)]  # fmt: skip
HEAD = np.dtype(
    [
        ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2"),
        ("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"), ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"), ("sample_time_us", "<f4"), ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)), ("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)), ("idx", [*_COUNTERS, ("user", "<u2", (8,))]),
        ("user_int", "<i4", (8,)), ("user_float", "<f4", (8,)),
    ]
)  # fmt: skip
XML = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>{frequency}</H1resonanceFrequency_Hz></experimentalConditions>
 <acquisitionSystemInformation><receiverChannels>{coils}</receiverChannels></acquisitionSystemInformation>
 <encoding>
  <trajectory>{trajectory}</trajectory>
  <encodedSpace>{space}</encodedSpace>
  <reconSpace>{space}</reconSpace>
  <encodingLimits/>
 </encoding>
</ismrmrdHeader>
"""
FREQUENCY_HZ = 127_740_000
"""Of protons at 3 T, where the data do not say."""


def write_ismrmrd(path: str | Path, kspace: KSpace, noise: np.ndarray | None = None, **extra: np.ndarray) -> None:
    """Write samples as an ISMRMRD file, the trajectory in cycles per pixel; read back by `read_kspace`.

    noise: (coil, sample) of a noise measurement.  extra: arrays that go into the file beside the acquisitions.
    """
    path, runs = Path(path), kspace.data.shape[1] // kspace.readout
    kind = np.dtype(
        [("head", HEAD), ("traj", h5py.vlen_dtype(np.dtype("<f4"))), ("data", h5py.vlen_dtype(np.dtype("<f4")))]
    )
    made = np.zeros(runs + (noise is not None), kind)
    points = kspace.points[:, ::-1].reshape(runs, kspace.readout, -1)
    data = kspace.data.reshape(len(kspace.data), runs, kspace.readout)
    dwell_us = 0.0 if kspace.times is None else 1e6 * float(kspace.times[1] - kspace.times[0])
    frame = np.zeros(runs, int) if kspace.frame is None else kspace.frame[:: kspace.readout]
    for number in range(runs):
        _fill(made[number], number, data[:, number], points[number], int(frame[number]))
        made[number]["head"]["sample_time_us"] = dwell_us
    if noise is not None:
        _fill(made[-1], runs, noise, np.zeros((noise.shape[1], 0)), 0)
        made[-1]["head"]["flags"] = 1 << 18
    with replacing(path, 2 * kspace.data.nbytes) as unfinished, h5py.File(unfinished, "w") as file:
        group = file.create_group("dataset")
        group["data"] = made
        group.create_dataset("xml", data=[_header(kspace)], dtype=h5py.string_dtype())
        for name, values in extra.items():
            file[name] = values


def _fill(row: Any, number: int, data: np.ndarray, points: np.ndarray, frame: int) -> None:
    head = row["head"]
    head["version"], head["scan_counter"] = 1, number
    head["number_of_samples"], head["center_sample"] = data.shape[1], data.shape[1] // 2
    head["available_channels"] = head["active_channels"] = len(data)
    head["trajectory_dimensions"] = points.shape[1]
    head["idx"]["kspace_encode_step_1"], head["idx"]["repetition"] = number, frame
    row["traj"] = points.astype(np.float32).ravel()
    row["data"] = np.ascontiguousarray(data, np.complex64).view(np.float32).ravel()


def _header(kspace: KSpace) -> str:
    sizes = (*reversed(kspace.shape), *(1,) * (3 - len(kspace.shape)))
    pixel = kspace.pixel_mm or (1.0,) * len(kspace.shape)
    millimetres = (*reversed(pixel), *(5.0,) * (3 - len(kspace.shape)))

    def vector(name: str, values: tuple[float, ...]) -> str:
        return f"<{name}>" + "".join(f"<{a}>{v}</{a}>" for a, v in zip("xyz", values, strict=True)) + f"</{name}>"

    fov = tuple(n * mm for n, mm in zip(sizes, millimetres, strict=True))
    trajectory = str(kspace.meta.get("trajectory", "other"))
    return XML.format(
        frequency=FREQUENCY_HZ,
        coils=len(kspace.data),
        trajectory=trajectory if trajectory != "cartesian" else "other",
        space=vector("matrixSize", sizes) + vector("fieldOfView_mm", fov),
    )
