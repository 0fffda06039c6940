"""
A crater under a low sun
========================

Reflectance, cast shadows with the sun's penumbra, and the derivative of the picture in the heights: what a fit of
terrain pulls back.
"""

import matplotlib.pyplot as plt
import numpy as np

from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import model_named
from tomodiff.projectors.terrain.reflectance import direction

n, spacing = 160, 5.0  # metres
y, x = np.mgrid[:n, :n] * spacing - n * spacing / 2
r = np.hypot(x, y) / 200
height = np.where(r < 1, 60 * (r**2 - 1) + 20, 20 * np.exp(-3 * (r - 1)))
model = model_named("hapke_1981")

# %%
# Three suns from the west, ever lower.

suns = direction(np.deg2rad([270.0] * 3), np.deg2rad([40.0, 20.0, 8.0]))
zenith = np.tile([0.0, 0.0, 1.0], (3, 1))
A = TerrainImages((n, n), zenith, "hapke_1981", spacing, dtype="float64")
ground = {
    "height": height, "albedo": np.ones((n, n)), "parameters": model.vector(),
    "sun": suns, "exposure": np.ones(3), "haze": np.zeros(3),
}  # fmt: skip
images, tangent = A.linearize(ground)

# %%
# `tangent.T` brings a change that is wanted in the pictures to the heights that would make it. Here: the middle of the
# floor, brighter.

wanted = np.zeros_like(images)
wanted[:, 70:90, 70:90] = 1.0
gradient = tangent.T(wanted)["height"]

figure, all_axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
for axes, image, elevation in zip(all_axes, images, (40, 20, 8), strict=False):
    axes.imshow(image, cmap="gray", vmin=0)
    axes.set(title=f"sun at {elevation} degrees", xticks=[], yticks=[])
far = np.quantile(np.abs(gradient), 0.999)
all_axes[3].imshow(gradient, cmap="RdBu", vmin=-far, vmax=far)
all_axes[3].set(title="gradient in the heights", xticks=[], yticks=[])
plt.show()
