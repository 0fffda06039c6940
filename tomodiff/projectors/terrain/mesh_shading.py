"""Shading of a mesh at its vertices, with gradients in where they are."""

from __future__ import annotations

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.photometry import Photometry, ReflectanceModel


class MeshShading(Operator):
    """{"vertices" (n, 3), "albedo" (n,), "parameters", "sun" (m, 3), "exposure" (m,), "haze" (m,)} -> brightness (m, n)
    of the vertices under each sun: exposure albedo R + haze.

    faces (k, 3): numbers of vertices, counterclockwise seen from outside; a vertex's normal is the mean of its faces'
    by their areas.  sun, view (m, 3): unit vectors, body-fixed, from far away.  Sides that are turned away are dark;
    shadows that parts cast on others are not looked for.  Exact derivatives in all inputs.
    """

    def __init__(
        self, faces: np.ndarray, vertices: int, view: np.ndarray,
        model: str | ReflectanceModel = "lunar_lambert_mcewen", dtype: str = "float32",
    ) -> None:  # fmt: skip
        faces = np.asarray(faces, np.int64)
        if faces.ndim != 2 or faces.shape[1] != 3 or not 0 <= faces.min(initial=0) <= faces.max(initial=0) < vertices:
            raise ValueError(
                f"faces: expected rows of three numbers of {vertices} vertices, got an array {faces.shape}"
            )
        self.faces, self.view, self.dtype = faces, np.asarray(view, np.float64), dtype
        m, n = len(self.view), int(vertices)
        self.photometry = Photometry(model, n, dtype)
        self.domain = {
            "vertices": Space((n, 3), dtype), "albedo": Space((n,), dtype),
            "parameters": self.photometry.domain["parameters"], "sun": Space((m, 3), "float64"),
            "exposure": Space((m,), "float64"), "haze": Space((m,), "float64"),
        }  # fmt: skip
        self.range = Space((m, n), dtype)

    def __call__(self, x: Element) -> Array:
        return self.linearize(x)[0]

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "MeshShading: x")
        xp = namespace(x["vertices"])
        normals = _Normals(self.faces, x["vertices"], xp)
        n, views, suns = normals.unit, xp.asarray(self.view), x["sun"]
        crosses = xp.cross(suns, views)
        seen = []
        for s, v, c in zip(suns, views, crosses, strict=True):
            geometry = xp.stack([n @ s, n @ v, xp.full(len(n), float(s @ v)), n @ c]).astype(self.dtype)
            seen.append(self.photometry.linearize({"geometry": geometry, "parameters": x["parameters"]}))
        rho = x["albedo"]
        scale, haze = ([float(v) for v in x[name]] for name in ("exposure", "haze"))
        value = xp.stack([e * rho * R + h for (R, _), e, h in zip(seen, scale, haze, strict=True)])

        def push(d: Element) -> Array:
            dn, made = normals.moved(d["vertices"]), []
            for k, (R, J) in enumerate(seen):
                ds, s, v, c = d["sun"][k], suns[k], views[k], crosses[k]
                along = xp.stack([
                    dn @ s + n @ ds, dn @ v, xp.full(len(n), float(ds @ v)), dn @ c + n @ xp.cross(ds, v),
                ])  # fmt: skip
                dR = J.forward({"geometry": along.astype(self.dtype), "parameters": d["parameters"]})
                first = float(d["exposure"][k]) * rho * R + float(d["haze"][k])
                made.append(first + scale[k] * (d["albedo"] * R + rho * dR))
            return xp.stack(made).astype(self.dtype)

        def pull(g: Array) -> Element:
            of_normal, albedo = xp.zeros(n.shape, "float64"), xp.zeros_like(rho)
            parameters = xp.zeros_like(x["parameters"])
            sun, exposure, fog = np.zeros((len(seen), 3)), np.zeros(len(seen)), np.zeros(len(seen))
            for k, (R, J) in enumerate(seen):
                own = g[k]
                back = J.adjoint(own * (scale[k] * rho))
                g0, g1, g2, g3 = back["geometry"].astype("float64")
                parameters = parameters + back["parameters"]
                s, v, c = suns[k], views[k], crosses[k]
                of_normal += g0[:, None] * s + g1[:, None] * v + g3[:, None] * c
                sun[k] = to_numpy(g0 @ n + g2.sum() * v + xp.cross(v, g3 @ n))
                albedo = albedo + scale[k] * R * own
                exposure[k], fog[k] = float((own * rho * R).sum(dtype="float64")), float(own.sum(dtype="float64"))
            return {
                "vertices": normals.pulled(of_normal).astype(self.dtype), "albedo": albedo, "parameters": parameters,
                "sun": xp.asarray(sun), "exposure": xp.asarray(exposure), "haze": xp.asarray(fog),
            }  # fmt: skip

        return value.astype(self.dtype), Linear(self.domain, self.range, push, pull, "Jacobian of MeshShading")


class _Normals:
    """unit (n, 3): normals of the vertices, float64."""

    def __init__(self, faces: np.ndarray, vertices: Array, xp: object) -> None:
        self.xp, self.faces, self.count = xp, faces, len(vertices)
        a, b, c = (vertices[faces[:, k]].astype("float64") for k in range(3))
        self.u, self.w = b - a, c - a
        total = self._gathered(xp.cross(self.u, self.w))  # type: ignore[attr-defined]
        self.length = xp.maximum(xp.sqrt((total * total).sum(1)), 1e-300)[:, None]  # type: ignore[attr-defined]
        self.unit = total / self.length

    def moved(self, d: Array) -> Array:
        """The derivative along moves of the vertices."""
        a, b, c = (d[self.faces[:, k]].astype("float64") for k in range(3))
        cross = self.xp.cross  # type: ignore[attr-defined]
        total = self._gathered(cross(b - a, self.w) + cross(self.u, c - a))
        return (total - self.unit * (self.unit * total).sum(1)[:, None]) / self.length

    def pulled(self, g: Array) -> Array:
        """Its transpose."""
        total = (g - self.unit * (self.unit * g).sum(1)[:, None]) / self.length
        of_face = total[self.faces[:, 0]] + total[self.faces[:, 1]] + total[self.faces[:, 2]]
        cross = self.xp.cross  # type: ignore[attr-defined]
        b, c = cross(self.w, of_face), cross(of_face, self.u)
        return self._scattered((-(b + c), b, c))

    def _gathered(self, of_faces: Array) -> Array:
        """Sums over the faces of each vertex."""
        return self._scattered((of_faces, of_faces, of_faces))

    def _scattered(self, corners: tuple[Array, Array, Array]) -> Array:
        xp = self.xp
        place = xp.asarray(self.faces.T.reshape(-1))  # type: ignore[attr-defined]
        values = xp.concatenate(corners)  # type: ignore[attr-defined]
        return xp.stack([xp.bincount(place, v, self.count) for v in values.T], 1)  # type: ignore[attr-defined]
