"""Light on ground: reflectance, shadows, air, sky and cameras, from heights and meshes to images."""
