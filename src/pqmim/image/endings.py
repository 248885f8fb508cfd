"""Which files of a folder are pictures."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".tga", ".jp2")
"""Endings, in lower case, that mark the pictures of a folder. A file that is named itself may end as it likes."""
