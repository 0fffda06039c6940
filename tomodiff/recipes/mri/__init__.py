"""Recipes of magnetic resonance."""
