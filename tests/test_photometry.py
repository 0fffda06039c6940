"""Reflectance models: other programs' values, slopes of everything, and nothing that is not finite."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.core import check_gradient
from tomodiff.projectors.terrain.photometry import MODELS, Photometry, geometry_of_angles, model_named

Shared = Callable[[str], Path]
REFERENCE = "reference/planetary/"
ROUGH = {"w": 0.5, "b": 0.25, "c": 0.4, "bs0": 1.6, "hs": 0.08, "bc0": 0.3, "hc": 0.05, "theta": 0.4, "phi": 0.3}
SMOOTH = {name: value for name, value in ROUGH.items() if name not in ("theta", "phi")}


def evaluated(model: str, geometry: np.ndarray, **values: float) -> np.ndarray:
    A = Photometry(model, geometry.shape[1])
    return np.asarray(A({"geometry": geometry, "parameters": A.model.vector(**values)}))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def angles(row: dict[str, str]) -> np.ndarray:
    return geometry_of_angles(*(np.deg2rad(float(row[f"{k}_deg"])) for k in ("incidence", "emission", "phase")))


@pytest.mark.real
@pytest.mark.parametrize(
    ("column", "model", "values", "factor"),
    [
        ("lambert", "lambert", {}, 1.0),
        ("lunar_lambert", "lunar_lambert_mcewen", {}, 1.0),
        ("exp_lunar_lambert", "lunar_lambert_cubic", {}, 1.0),
        ("charon", "charon", {}, 1.0),
        # A reflectance, not I/F: 1/pi; the share of the backward lobe is 0.62.
        ("hapke", "hapke_1981", {"w": 0.68, "b": 0.17, "c": 2 * 0.62 - 1, "bs0": 0.52, "hs": 0.52}, 1 / np.pi),
    ],
)
def test_ames_stereo_pipeline(column: str, model: str, values: dict[str, float], factor: float, shared: Shared) -> None:
    """Functions of its `sfs` at its defaults, twelve digits."""
    for row in rows(shared(REFERENCE + "asp_sfs_reflectance.csv")):
        assert factor * evaluated(model, angles(row), **values)[0] == pytest.approx(float(row[column]), rel=1e-10)


def isis(row: dict[str, str]) -> tuple[str, dict[str, float], float]:
    """Our model for a row of ISIS: name, parameters, and how many times larger its value is."""
    given = dict(item.split("=") for item in row["params"].split(";") if "=" in item)
    n = {k: float(v) for k, v in given.items() if not k.startswith("Zero")}
    match row["model"]:
        case "Lambert":
            return "lambert", {}, 1.0
        case "LommelSeeliger":
            return "lommel_seeliger", {}, 1.0
        case "LunarLambert":
            return "lunar_lambert", {"share": n["L"]}, 1.0
        case "Minnaert":
            return "minnaert", {"k": n["K"]}, 1.0
        case "LunarLambertMcEwen":  # the correction to incidence, emission and phase of 30, 0 and 30 degrees
            standard = geometry_of_angles(np.pi / 6, 0.0, np.pi / 6)
            return "lunar_lambert_mcewen", {}, 1 / evaluated("lunar_lambert_mcewen", standard)[0]
    common = {
        "w": n.get("Wh", 0.5), "bs0": n.get("B0", 0.0), "hs": n.get("Hh", 1.0), "theta": np.deg2rad(n.get("Theta", 0.0))
    }  # fmt: skip
    if row["model"] == "HapkeHen":
        return "hapke_1981", common | {"b": n.get("Hg1", 0.0), "c": 2 * n.get("Hg2", 0.0) - 1}, 1.0
    return "hapke_legendre", common | {"b": n.get("Bh", 0.0), "c": n.get("Ch", 0.0)}, 1.0


@pytest.mark.real
def test_isis(shared: Shared) -> None:
    """Its own truth tables, six digits.  Its McEwen model gives the correction factor, the inverse of the others."""
    count = 0
    for row in rows(shared(REFERENCE + "isis_photomodel_truth.csv")):
        if "Empirical" in row["model"]:
            continue
        model, values, factor = isis(row)
        found, wanted = factor * evaluated(model, angles(row), **values)[0], float(row["value"])
        if row["model"] == "LunarLambertMcEwen" and found > 0:
            found = 1 / found
        assert found == pytest.approx(wanted, rel=5e-6, abs=1e-12), row
        count += 1
    assert count >= 30


@pytest.mark.real
def test_hapke_2012_of_a_real_image(shared: Shared) -> None:
    """Points of an LRO WAC image whose histogram agrees with ISIS's to 1e-9 by an independent program."""
    for row in rows(shared(REFERENCE + "hapke2012_wac_points.csv")):
        n = {k: float(v) for k, v in row.items()}
        values = {"w": n["w"], "b": n["b"], "c": n["c"], "bs0": n["Bs0"], "hs": n["hs"], "bc0": n["Bc0"], "hc": n["hc"]}
        made = evaluated("hapke_2002", angles(row), theta=np.deg2rad(n["theta_deg"]), phi=n["phi"], **values)
        assert made[0] == pytest.approx(n["r_port"], rel=1e-12)


def directions(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals, suns and cameras (n, 3) well above each other's horizons."""
    made = rng.normal(size=(3, n, 3))
    made[..., 2] = np.abs(made[..., 2]) + 0.8
    unit = made / np.linalg.norm(made, axis=-1, keepdims=True)
    return unit[0], unit[1], unit[2]


def geometry(n: np.ndarray, s: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack([(n * s).sum(-1), (n * v).sum(-1), (s * v).sum(-1), (n * np.cross(s, v)).sum(-1)])


def chosen(name: str) -> dict[str, float]:
    return ROUGH if name.startswith("hapke") else {"c1": 0.4, "c2": 0.2} if name == "lunar_lambert_mcewen" else {}


@pytest.mark.parametrize("name", MODELS)
def test_slopes(name: str, rng: np.random.Generator) -> None:
    """Push, pull and differences agree in the geometry and in every parameter."""
    at = geometry(*directions(rng, 40))
    A = Photometry(name, 40)
    p = A.model.vector(**chosen(name))
    exact_slope(check_gradient(A.fix(parameters=p), at, rng=rng, steps=(1e-2, 1e-3, 1e-4)))
    g = rng.normal(size=40)
    found = A.linearize({"geometry": at, "parameters": p})[1].adjoint(g)["parameters"]
    for k, parameter in enumerate(A.model.names):
        cubic = "cubic" in A.model.parameters[k].meaning  # whose coefficients work on powers of tens of degrees
        step = np.zeros(p.size)
        step[k] = 1e-5 / 60 ** int(parameter[-1]) if cubic else 1e-6 * max(abs(p[k]), 0.1)
        high, low = (A({"geometry": at, "parameters": p + sign * step}) for sign in (1, -1))
        assert found[k] == pytest.approx(((high - low) * g).sum() / (2 * step[k]), rel=1e-6, abs=1e-8), parameter


@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees(name: str, rng: np.random.Generator, xp: ModuleType) -> None:
    at = geometry(*directions(rng, 300))
    single = Photometry(name, 300, "float32")
    values = single.model.vector(**chosen(name))
    made = single({"geometry": xp.asarray(at, "float32"), "parameters": xp.asarray(values)})
    made = made if isinstance(made, np.ndarray) else made.get()
    assert made == pytest.approx(evaluated(name, at, **chosen(name)), rel=2e-3)


def tilted(n: np.ndarray, along: np.ndarray, angle: float) -> np.ndarray:
    """A normal turned towards a direction."""
    return np.cos(angle) * n + np.sin(angle) * along


AWKWARD = {
    "nadir, sun in the zenith": ((0, 0, 1), (0, 0, 1), (0, 0, 1)),
    "nadir": ((0, 0, 1), (0.6, 0, 0.8), (0, 0, 1)),
    "sun in the zenith": ((0, 0, 1), (0, 0, 1), (0.6, 0, 0.8)),
    "principal plane, sun behind the camera": ((0, 0, 1), (0.6, 0, 0.8), (0.28, 0, 0.96)),
    "principal plane, sun before the camera": ((0, 0, 1), (0.6, 0, 0.8), (-0.28, 0, 0.96)),
    "i = e": ((0, 0, 1), (0.6, 0, 0.8), (0.36, 0.48, 0.8)),
    "i = e, opposite": ((0, 0, 1), (0.6, 0, 0.8), (-0.6, 0, 0.8)),
    "opposition": ((0, 0, 1), (0.6, 0, 0.8), (0.6, 0, 0.8)),
    "sun at the horizon": ((0, 0, 1), (1, 0, 0), (0, 0.6, 0.8)),
    "the limb": ((0, 0, 1), (0, 0.6, 0.8), (1, 0, 0)),
    "sun and limb": ((0, 0, 1), (1, 0, 0), (-1, 0, 0)),
    "just before the terminator": ((0, 0, 1), (1, 0, 1e-9), (0, 0.6, 0.8)),
}


@pytest.mark.parametrize("place", AWKWARD)
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_in_the_normal_are_finite_and_right_where_formulas_divide_by_zero(name: str, place: str) -> None:
    """Against differences of both sides, which see the mean of one-sided slopes.  On a horizon they see half of what
    there is on the lit side, so there only finiteness is asked for."""
    n, s, v = (np.array(a, float) for a in AWKWARD[place])
    A = Photometry(name, 1)
    parameters = A.model.vector(**chosen(name))

    def value(normal: np.ndarray) -> float:
        return float(A({"geometry": geometry(normal, s, v)[:, None], "parameters": parameters})[0])

    made, J = A.linearize({"geometry": geometry(n, s, v)[:, None], "parameters": parameters})
    pulled = J.adjoint(np.ones(1))
    assert np.isfinite(made).all() and np.isfinite(pulled["geometry"]).all() and np.isfinite(pulled["parameters"]).all()
    if min(n @ s, n @ v) < 1e-6:
        return
    mu0, mu, _, side = pulled["geometry"][:, 0]
    slope = mu0 * s + mu * v + side * np.cross(s, v)
    for along in (np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), np.array([0.6, 0.8, 0])):
        h = 1e-5
        wanted = (value(tilted(n, along, h)) - value(tilted(n, along, -h))) / (2 * h)
        assert slope @ along == pytest.approx(wanted, abs=2e-4 * max(1.0, abs(made[0])))


def test_akimov_is_one_at_opposition(rng: np.random.Generator) -> None:
    n, s, _ = directions(rng, 50)
    n = np.where((n * s).sum(-1, keepdims=True) > 0, n, -n)
    assert evaluated("akimov", geometry(n, s, s), nu=0.52) == pytest.approx(np.ones(50))


@pytest.mark.parametrize("name", ["lambert", "lommel_seeliger", "lunar_lambert", "minnaert", "lunar_lambert_mcewen"])
def test_normalised_models_are_one_from_the_zenith(name: str) -> None:
    assert evaluated(name, geometry_of_angles(0.0, 0.0, 0.0)) == pytest.approx([1.0])


@pytest.mark.parametrize("name", ["hapke_1981", "hapke_2002", "hapke_legendre"])
def test_reciprocity_of_smooth_and_rough_surfaces(name: str, rng: np.random.Generator) -> None:
    """r / mu0 is the same with sun and camera exchanged (Helmholtz); Hapke's roughness keeps that."""
    n, s, v = directions(rng, 60)
    there, back = geometry(n, s, v), geometry(n, v, s)
    one, other = evaluated(name, there, **ROUGH) / there[0], evaluated(name, back, **ROUGH) / back[0]
    assert one == pytest.approx(other, rel=1e-9)


def test_roughness_goes_to_the_smooth_surface(rng: np.random.Generator) -> None:
    at = geometry(*directions(rng, 60))
    flat, nearly = (evaluated("hapke_2002", at, **(SMOOTH | {"theta": t})) for t in (0.0, 1e-3))
    assert nearly == pytest.approx(flat, rel=1e-2)


def test_below_a_horizon_there_is_nothing() -> None:
    at = np.array([[-0.1, 0.5, 0.0], [0.5, -0.1, 0.5], [0.3, 0.3, 0.3], [0.1, 0.1, 0.1]])
    for name in MODELS:
        A = Photometry(name, 3)
        value, J = A.linearize({"geometry": at, "parameters": A.model.vector()})
        assert not value.any() and not J.adjoint(np.ones(3))["geometry"].any()


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of lambert, lommel_seeliger"):
        model_named("phong")
    with pytest.raises(ValueError, match="minnaert: expected some of k, got w"):
        model_named("minnaert").vector(w=1.0)
    with pytest.raises(ValueError, match="lambert: expected no parameters, got k"):
        model_named("lambert").vector(k=1.0)
    with pytest.raises(ValueError, match=r"hapke_1981: w: expected 0 to 0\.999999, got 1\.5"):
        model_named("hapke_1981").vector(w=1.5)
