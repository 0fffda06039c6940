"""`tomodiff cryoem fsc`, `postprocess` and `mask`: from half maps to a resolution and a sharpened map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomodiff.cli.console import note, say, tell
from tomodiff.cli.outputs import Overwrite, refuse_existing

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.analytic.fsc import FscCurves
    from tomodiff.analytic.postprocess import Postprocessed

Half = Annotated[Path, typer.Argument(metavar="HALF.mrc", help="half map")]
Mask = Annotated[Path | None, typer.Option("--mask", metavar="MASK.mrc", help="soft solvent mask")]
Pixel = Annotated[float | None, typer.Option("--pixel-a", metavar="ANGSTROM", help="in place of the maps' own")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="start of the random phases")]


def fsc(
    half1: Half,
    half2: Half,
    mask: Mask = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="the curves as .star, .json, .csv or .png")
    ] = None,
    pixel: Pixel = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Print the resolution of two half maps; with a mask corrected by phase randomisation."""
    import numpy as np

    from tomodiff.analytic.fsc import crossing, gold_standard, resolution

    first, second, size, cover = _halves(half1, half2, mask, pixel)
    refuse_existing(overwrite, out)
    curves = gold_standard(first, second, cover, np.random.default_rng(seed))
    shown = {"resolution": f"{resolution(curves.corrected, size):.3f} A at FSC 0.143"}
    shown["interpolated"] = f"{crossing(curves.corrected, size):.3f} A"
    shown["FSC 0.5"] = f"{resolution(curves.corrected, size, 0.5):.3f} A"
    shown["unmasked"] = f"{resolution(curves.unmasked, size):.3f} A" if cover is not None else ""
    tell(shown)
    if out is not None:
        write_curves(out, curves, size)
        say(f"curves        {out}")


def postprocess(
    half1: Half,
    half2: Half,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MAP.mrc", help="sharpened map")],
    mask: Mask = None,
    b_factor: Annotated[str, typer.Option("--b-factor", metavar="auto|off|B", help="angstrom^2, below 0")] = "auto",
    mtf: Annotated[
        Path | None, typer.Option("--mtf", metavar="FILE", help="detector's MTF: STAR or two columns")
    ] = None,
    mtf_pixel: Annotated[
        float | None, typer.Option("--mtf-pixel-a", metavar="ANGSTROM", help="pixel that the MTF refers to")
    ] = None,
    low_pass: Annotated[
        str, typer.Option("--low-pass", metavar="off|resolution|ANGSTROM", help="filter of the result")
    ] = "resolution",
    pixel: Pixel = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Sharpen and filter the mean of two half maps by their FSC."""
    import numpy as np

    from tomodiff.analytic.postprocess import postprocess as sharpened
    from tomodiff.files.cryoem import write_map
    from tomodiff.files.cryoem.mtf import read_mtf

    first, second, size, cover = _halves(half1, half2, mask, pixel)
    curve_file = out.with_name(f"{out.stem}_fsc.star")
    refuse_existing(overwrite, out, curve_file)
    made = _explained(
        sharpened, first, second, size, cover, _number_or(b_factor, {"auto": "auto", "off": None}, "--b-factor"),
        mtf=None if mtf is None else read_mtf(mtf), mtf_pixel=mtf_pixel,
        low_pass_at=_number_or(low_pass, {"off": None, "resolution": "resolution"}, "--low-pass"),
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    write_map(out, made.map, size)
    write_curves(curve_file, made.curves, size)
    tell({"resolution": f"{made.resolution:.3f} A at FSC 0.143", "B factor": f"{made.b_factor:.1f} A^2"})
    for text in made.warnings:
        note(f"warning: {text}")
    say(f"map         {out}\ncurves      {curve_file}")


def mask(
    volume: Annotated[Path, typer.Argument(metavar="MAP.mrc", help="map to cut the mask from")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MASK.mrc", help="the mask")],
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="DENSITY", help="default: found in the histogram")
    ] = None,
    low_pass: Annotated[float, typer.Option("--low-pass", metavar="ANGSTROM", help="filter before; 0 for none")] = 15.0,
    extend: Annotated[float, typer.Option("--extend", metavar="VOXELS", help="grow the mask")] = 3.0,
    edge: Annotated[float, typer.Option("--edge", metavar="VOXELS", help="width of the soft edge")] = 6.0,
    overwrite: Overwrite = False,
) -> None:
    """Cut a soft solvent mask from a map."""
    from tomodiff.analytic.masks import from_map
    from tomodiff.files.cryoem import read_map, write_map

    refuse_existing(overwrite, out)
    density, pixel, origin = read_map(volume, cube=True)
    made = from_map(density, threshold, extend, edge, pixel, low_pass or None)
    write_map(out, made, pixel, origin)
    say(f"mask    {out}: {100 * float(made.mean()):.1f} % of the box")


def write_curves(path: Path, curves: FscCurves, pixel: float) -> None:
    """FSC curves as a STAR table, JSON, CSV or a picture, by the suffix."""
    import csv
    import json

    import numpy as np

    from tomodiff.analytic.fsc import shell_frequencies
    from tomodiff.errors import ConfigError
    from tomodiff.files.atomic import replacing

    columns: dict[str, np.ndarray] = {"spatial_frequency": shell_frequencies(curves.unmasked, pixel)}
    for name in ("unmasked", "masked", "randomised", "corrected"):
        values = getattr(curves, name)
        if values is not None:
            columns[name] = np.asarray(values)
    suffix = path.suffix.lower()
    if suffix not in (".star", ".json", ".csv", ".png"):
        raise ConfigError(f"{path}: expected a name that ends in .star, .json, .csv or .png, found {suffix!r}")
    table = np.stack(list(columns.values()), 1)
    with replacing(path, table.size * 32) as temporary:
        if suffix == ".png":
            from tomodiff.report.cryoem_figures import fsc_curves
            from tomodiff.report.drawing import LIGHT

            fsc_curves(columns | {"frequency": columns["spatial_frequency"], "pixel": np.array(pixel)}, LIGHT).savefig(
                temporary
            )
        elif suffix == ".json":
            temporary.write_text(json.dumps({k: v.tolist() for k, v in columns.items()} | {"pixel_a": pixel}))
        elif suffix == ".csv":
            with temporary.open("w", newline="") as stream:
                csv.writer(stream).writerows([list(columns), *table.tolist()])
        else:
            names = {"spatial_frequency": "rlnResolution", "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
                     "masked": "rlnFourierShellCorrelationMaskedMaps",
                     "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
                     "corrected": "rlnFourierShellCorrelationCorrected"}  # fmt: skip
            head = "".join(f"_{names[c]} #{i}\n" for i, c in enumerate(columns, 1))
            body = "".join(" ".join(f"{v:12.6f}" for v in row) + "\n" for row in table)
            temporary.write_text(f"\ndata_fsc\n\nloop_\n{head}{body}\n")


def _halves(
    half1: Path, half2: Path, mask: Path | None, pixel: float | None
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray | None]:
    """The two maps, their pixel in angstrom, and the mask."""
    from tomodiff.errors import DataError
    from tomodiff.files.cryoem import read_map

    first, size, _ = read_map(half1, pixel, cube=True)
    cover = None
    others = []
    for path in (half2, mask):
        if path is None:
            continue
        volume, other, _ = read_map(path, pixel, cube=True)
        if volume.shape != first.shape or abs(other - size) > 1e-3 * size:
            expected = f"{first.shape[0]} voxels of {size:g} angstrom a side, as {half1}"
            raise DataError(path, "map", expected, f"{volume.shape[0]} of {other:g}")
        others.append(volume)
    second = others[0]
    if mask is not None:
        cover = others[1]
    return first, second, size, cover


def _explained(call: Callable[..., Postprocessed], *given: Any, **named: Any) -> Postprocessed:
    """The result of a call whose ValueError is about what the user typed."""
    from tomodiff.errors import ConfigError

    try:
        return call(*given, **named)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _number_or(text: str, words: dict[str, Any], option: str) -> Any:
    """A number, or what one of some words stands for."""
    from tomodiff.errors import ConfigError

    if text in words:
        return words[text]
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: expected {', '.join(words)} or a number, got {text!r}") from None
