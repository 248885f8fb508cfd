"""Bytes to fields and chunks, and back. Knows nothing of images or tensors, and imports neither NumPy nor torch."""

from pqmim.bitstream.container import CHECKED_FROM, Container, Tag, overhead, read, read_stream, write
from pqmim.bitstream.describe import describe
from pqmim.bitstream.header import Header, Kind
from pqmim.errors import DamagedFile, PqmimError, TooShort, UnsupportedFile

__all__ = [
    "CHECKED_FROM",
    "Container",
    "DamagedFile",
    "Header",
    "Kind",
    "PqmimError",
    "Tag",
    "TooShort",
    "UnsupportedFile",
    "describe",
    "overhead",
    "read",
    "read_stream",
    "write",
]
