"""Which files of a folder are pictures."""

PICTURES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".tga", ".ico", ".qoi", ".jp2", ".j2k"),
)
"""Endings, in lower case, that mark the pictures of a folder. A file that is named itself may end as it likes."""

UNREAD = (
    *(".heic", ".heif", ".jxl", ".psd", ".svg", ".exr", ".hdr", ".raw", ".dng"),
    *(".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
"""Endings of pictures that are not read: whoever has them in a folder is told that they are passed over."""
