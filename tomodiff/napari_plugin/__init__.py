"""The plug-in for napari: volumes and scans as layers in physical units, and a panel that reconstructs."""
