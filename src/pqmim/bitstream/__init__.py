"""Bytes to fields and chunks, and back. Knows nothing of images or tensors, and imports neither NumPy nor torch."""

from pqmim.bitstream.container import Container, Tag, read, write
from pqmim.bitstream.describe import describe
from pqmim.bitstream.header import Header
from pqmim.errors import DamagedFile, InvalidImage, OutputError, PqmimError, UnsupportedFile

__all__ = [
    "Container",
    "DamagedFile",
    "Header",
    "InvalidImage",
    "OutputError",
    "PqmimError",
    "Tag",
    "UnsupportedFile",
    "describe",
    "read",
    "write",
]
