"""The settings of terrain jobs, as they stand in a YAML file and on the command line.

Names are those of Ames Stereo Pipeline's `sfs` where it has the like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tomodiff.recipes import fields
from tomodiff.recipes.fields import expected
from tomodiff.recipes.section import Section, TrialJob

SUFFIXES = (".tif", ".tiff")
MODELS = (
    "lambert", "lommel_seeliger", "lunar_lambert", "lunar_lambert_mcewen", "lunar_lambert_exponential",
    "lunar_lambert_cubic", "minnaert", "akimov", "oren_nayar", "charon", "lroc_2014", "lroc_2019",
    "hapke_1981", "hapke_2002", "hapke_legendre", "ggx",
)  # fmt: skip


def separated(value: object) -> object:
    """A text with commas as a list, and a number as a list of one; anything else as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Files = Annotated[tuple[fields.File, ...], BeforeValidator(separated), expected("files, separated by commas")]
Numbers = Annotated[tuple[float, ...], BeforeValidator(separated), expected("numbers, separated by commas")]
OneOrMore = Annotated[
    float | tuple[float, ...], BeforeValidator(separated), expected("a number, or one for each image, with commas")
]
Positive = Annotated[_Positive, expected("a number above 0")]
NotNegative = Annotated[_NotNegative, expected("a number of at least 0")]
AutoPositive = Annotated[Literal["auto"] | _Positive, expected("auto or a number above 0")]
AutoNotNegative = Annotated[Literal["auto"] | _NotNegative, expected("auto or a number of at least 0")]
Exposures = Annotated[
    Literal["auto"] | _Positive | Path, expected("auto, a number above 0, or a file with a line IMAGE NUMBER each")
]
Weights = Annotated[_Positive | Path, expected("a number above 0, or a file with a line IMAGE NUMBER each")]
Haze = Annotated[_NotNegative | Path, expected("a number of at least 0, or a file with a line IMAGE NUMBER each")]


class TerrainInput(Section):
    """The images, the heights to start from, and what the files do not say."""

    images: Files = Field(description="images: GeoTIFF, ISIS cube, PDS, FITS; on the map of the DEM or another")
    dem: fields.File | None = Field(
        default=None, description="heights to start from, on the map of the result (level ground on the first image's)"
    )
    sun_angles: fields.File | None = Field(
        default=None, description="lines IMAGE AZIMUTH ELEVATION [VIEW_AZIMUTH VIEW_ELEVATION], degrees"
    )
    lights: fields.File | None = Field(
        default=None, description="lines [IMAGE] X Y Z towards the light: right, up, towards the camera"
    )
    cameras: Files | None = Field(
        default=None, description="cameras of the images, one each in their order: ISD of the Community Sensor Model "
        "(else IMAGE.json beside one, its RPC, or tables in an ISIS cube, unless it lies on a map)"
    )  # fmt: skip
    mask: fields.File | None = Field(default=None, description="image that is bright where elements count")
    input_albedo: fields.File | None = Field(default=None, description="albedo to start from")
    image_exposures: Exposures = Field(
        default="auto", description="auto, a number for all (1 for I/F), or lines IMAGE NUMBER"
    )
    image_weights: Weights = Field(
        default=1.0, description="how much an image counts beside one with weight 1: a number, or lines IMAGE NUMBER"
    )
    haze: Haze = Field(default=0.0, description="brightness added to all of an image, or lines IMAGE NUMBER")
    crop_win: Numbers | None = Field(default=None, description="part of the DEM: column, row, width, height")

    @property
    def path(self) -> Path:
        """What a report is called by."""
        return self.dem or self.images[0]

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        window = separated(given.get("crop_win"))
        if isinstance(window, list | tuple) and len(window) != 4:
            yield "crop_win", f"expected column, row, width, height, got {len(window)} numbers"
        if given.get("lights") is not None and given.get("sun_angles") is not None:
            yield "lights", "expected lights or sun_angles, got both"


class RasterOutput(Section):
    """Where results go."""

    path: fields.File = Field(
        default=Path("terrain"), description="folder of the run, or a name.tif for the heights themselves"
    )
    format: Literal["tif"] | None = Field(default=None, description="tif")
    checkpoint_every: fields.Count | None = Field(default=None, description="iterations between checkpoints")
    checkpoint_seconds: fields.Duration | None = Field(default=60.0, description="seconds between checkpoints")
    overwrite: fields.Switch = Field(default=False, description="replace an earlier run at the same place")
    report: fields.Switch = Field(default=True, description="write report.html")

    name: ClassVar[str] = "run-DEM-final"
    default_format: ClassVar[str] = "tif"

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        path = given.get("path", "")
        suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
        if suffix and suffix not in SUFFIXES:
            yield "path", f"expected a name that ends in .tif, or a folder, got {path}"

    @property
    def is_file(self) -> bool:
        """Whether `path` names the file of the heights, and not the folder of the run."""
        return self.path.suffix.lower() in SUFFIXES


class Light(Section):
    """How light meets the ground and the camera."""

    reflectance_type: Literal[MODELS] = Field(  # type: ignore[valid-type]
        default="lunar_lambert_mcewen", description=f"one of {', '.join(MODELS)}"
    )
    model_coeffs: Numbers | None = Field(default=None, description="its parameters, separated by commas")
    shadows: Literal["penumbra", "hard", "none"] = Field(
        default="penumbra", description="cast by the ground: penumbra (with derivatives), hard or none"
    )
    sun_radius_deg: Positive = Field(default=0.2666, description="half the angle under which the sun is seen, degrees")
    shadow_threshold: AutoNotNegative = Field(
        default="auto", description="brightness below which a first, shadowless fit leaves an element out"
    )
    low_light_threshold: NotNegative = Field(default=0.0, description="brightness below which an element never counts")
    saturation: Positive | None = Field(default=None, description="brightness from which an element never counts")
    ambient: NotNegative = Field(
        default=0.0, description="light of the sky, past the horizons of the ground, over that of a sun in the zenith"
    )
    shading: fields.Switch = Field(
        default=True, description="heights shade the ground (off: only cameras tell of heights, as in stereo)"
    )
    atmosphere: Literal["none", "isotropic", "isotropic_2", "anisotropic", "anisotropic_2", "hapke", "hapke_2"] = Field(
        default="none", description="none, or a model of ISIS over the ground (images and albedo in I/F): isotropic, "
        "anisotropic, hapke, or one of these with _2 (in the second approximation)"
    )  # fmt: skip
    tau: OneOrMore = Field(default=0.28, description="optical depth, one for all images or one each")
    wha: OneOrMore = Field(default=0.95, description="single scattering albedo of the air, one for all or one each")
    bha: OneOrMore = Field(default=0.85, description="anisotropy of the anisotropic models, one for all or one each")
    hga: OneOrMore = Field(default=0.68, description="asymmetry of the Hapke models, one for all or one each")
    psf_px: NotNegative = Field(default=0.0, description="standard deviation of the camera's blur, elements of the map")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of the computation")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")


class Fit(Section):
    """What is sought, and what is held against it."""

    fix_dem: fields.Switch = Field(default=False, description="keep the heights as they are")
    float_albedo: fields.Switch = Field(default=True, description="seek the albedo of each element")
    float_exposure: fields.Switch = Field(default=False, description="seek the exposure of each image")
    float_haze: fields.Switch = Field(default=False, description="seek the haze of each image")
    float_reflectance_model: fields.Switch = Field(default=False, description="seek the parameters of the reflectance")
    float_sun: fields.Switch = Field(default=False, description="seek where the sun stood in each image")
    float_ambient: fields.Switch = Field(default=False, description="seek the light of the sky in each image")
    float_tau: fields.Switch = Field(default=False, description="seek the optical depth of the air in each image")
    tau_sigma: Positive = Field(default=0.2, description="how far depths may be off where they are sought")
    float_cameras: Literal["no", "shift", "affine"] = Field(
        default="no", description="seek where each image with a camera lies: no, shift, or affine (six numbers each)"
    )
    camera_sigma_px: Positive = Field(default=2.0, description="how far its pixels may be off where that is sought")
    sun_sigma_deg: Positive = Field(default=1.0, description="how far suns may be off where they are sought, degrees")
    noise: AutoPositive = Field(default="auto", description="standard deviation of the images' noise, in their unit")
    smoothness_weight: AutoNotNegative = Field(
        default="auto", description="weight of curvatures (1/m), less the DEM's, beside images with weight 1"
    )
    gradient_weight: NotNegative = Field(default=0.0, description="weight of slopes beside images with weight 1")
    initial_dem_constraint_weight: AutoNotNegative = Field(
        default="auto", description="weight of distances (m) from the DEM beside images with weight 1"
    )
    dem_sigma: AutoPositive = Field(
        default="auto",
        description="how far each of its elements may be off on its own, m, where that weight is auto (10 elements)",
    )
    albedo_smoothness_weight: AutoNotNegative = Field(
        default="auto", description="weight of the albedo's slopes (1/m) beside images with weight 1"
    )
    albedo_constraint_weight: NotNegative = Field(
        default=0.0, description="weight of distances from the first albedo beside images with weight 1"
    )
    robust_threshold: NotNegative = Field(
        default=5.0, description="residual, in deviations of the noise, from which it counts less (Cauchy); 0: never"
    )
    albedo_bounds: Numbers | None = Field(default=None, description="lowest, highest (0 and none)")
    levels: fields.Count | None = Field(default=None, description="grids, each twice as coarse as the next")
    max_iterations: fields.Count = Field(default=10, description="steps on each grid, at most")
    optimiser: Literal["gauss-newton", "l-bfgs"] = Field(
        default="gauss-newton", description="gauss-newton, or l-bfgs (20 of its iterations are a step)"
    )
    tile_size: Annotated[int, Field(ge=64), expected("a whole number of at least 64")] | None = Field(
        default=None, description="elements along a tile, in which large maps are fitted one after the other"
    )
    tile_halo: fields.Count = Field(default=64, description="elements that a tile sees beyond itself on each side")
    errors: fields.Switch = Field(default=True, description="maps of the standard deviation of heights and albedo")
    error_samples: Annotated[int, Field(ge=4), expected("a whole number of at least 4")] = Field(
        default=24, description="random fits behind these maps"
    )

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        switches = (
            "float_exposure",
            "float_haze",
            "float_reflectance_model",
            "float_sun",
            "float_tau",
            "float_ambient",
        )
        some = given.get("float_cameras", "no") != "no" or any(map(given.get, switches))
        if given.get("fix_dem") and given.get("float_albedo", True) is False and not some:
            yield "fix_dem", "nothing is left to be sought: float the albedo or something else"
        bounds = separated(given.get("albedo_bounds"))
        if isinstance(bounds, list | tuple) and (len(bounds) != 2 or not float(bounds[0]) < float(bounds[1])):
            yield "albedo_bounds", "expected two numbers, the lower one first"


class TerrainFitSettings(TrialJob):
    """Everything that a fit of a terrain to images needs."""

    TRIAL = MappingProxyType({"fit.max_iterations": 2, "fit.errors": False})

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("input", "dem"), ("input", "sun_angles"), ("input", "lights"), ("input", "mask"), ("input", "input_albedo"),
        ("input", "image_exposures"), ("input", "haze"), ("input", "image_weights"), ("output", "path"),
    )  # fmt: skip
    PATH_LISTS: ClassVar[tuple[tuple[str, str], ...]] = (("input", "images"), ("input", "cameras"))
    NO_PATHS: ClassVar[tuple[str, ...]] = ("auto",)
    INPUTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"path": "DEM", "sun_angles": "sun angles", "lights": "lights"}
    )

    job: Literal["terrain-fit"] = Field(default="terrain-fit", description="the kind of job")
    input: TerrainInput
    light: Light = Field(default_factory=Light, validate_default=True)
    fit: Fit = Field(default_factory=Fit, validate_default=True)
    output: RasterOutput = Field(default_factory=RasterOutput, validate_default=True)

    @property
    def method(self) -> str:
        return "terrain from shading"
