"""Scans as scanners and other programs write them, each with its geometry turned into ours."""
