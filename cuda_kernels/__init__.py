"""The CUDA sources, as package data: see README.md in this folder."""
