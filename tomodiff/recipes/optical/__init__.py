"""Scenes from photographs: radiance fields that are fitted, looked at, and in which cameras are found."""
