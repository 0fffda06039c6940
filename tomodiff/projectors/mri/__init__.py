"""Magnetic resonance: images to samples of their spectrum, through coils, trajectories and fields."""
