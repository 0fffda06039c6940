"""The angles that a scan of ours has in files of others, which know nothing but rotation angles."""

from __future__ import annotations

import numpy as np

from tomodiff.geometry import Scan


def azimuths(scan: Scan) -> np.ndarray:
    """The rotation angle of each view in radians: the scan's own, else the azimuth of its central ray, unwrapped.

    A ray (rx, ry) at angle t is (-sin t, cos t).  For a trajectory that is not a circle this is only part of the
    geometry; the whole of it is carried beside the angles.
    """
    own = getattr(scan, "angles", None)
    if own is not None:
        return np.asarray(own, np.float64)
    frames = scan.frames()
    ray = frames[:, 0:3] if scan.kind == "parallel" else frames[:, 3:6] - frames[:, 0:3]
    return np.unwrap(np.arctan2(-ray[:, 0], ray[:, 1]))
