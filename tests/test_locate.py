"""Poses of cameras: slopes on the group of motions, a scene's photographs, and a body under X-rays."""
