"""The errors of geometry that a calibration may seek, in words: those of `tomodiff.projectors.geometry_errors`.

They stand here again so that `--help` loads no NumPy; the tests compare the two lists.
"""

ERRORS = {
    "detector_u": "detector along its rows",
    "detector_v": "detector along its columns",
    "detector_distance": "detector away from the source",
    "source_u": "source along detector rows",
    "source_v": "source along detector columns",
    "source_distance": "source towards the detector",
    "sample_u": "sample along detector rows",
    "sample_v": "sample along detector columns",
    "sample_depth": "sample towards the detector",
    "detector_roll": "detector about its normal",
    "detector_pitch": "detector about its rows",
    "detector_yaw": "detector about its columns",
    "sample_roll": "sample about the detector's normal",
    "axis_tilt": "top of the rotation axis towards the detector",
    "view_angle": "sample about the detector's columns",
}
