"""Where the bytes of a .pqm file come from: bytes, a path, or a binary file object."""

import os
from typing import BinaryIO, TypeAlias, Union

Source: TypeAlias = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", BinaryIO]


def data_of(source: Source) -> bytes:
    """All bytes of a file.

    Args:
        source: the bytes themselves, a path, or an object whose `read()` gives bytes.

    Raises:
        OSError: the path cannot be read.
        TypeError: the source is of another kind.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return file.read()
    if callable(getattr(source, "read", None)):
        data = source.read()
        if isinstance(data, bytes):
            return data
        raise TypeError(f"a file object must be opened in binary mode: its read() gave {type(data).__name__}")
    raise TypeError(f"a .pqm file is bytes, a path or a binary file object, not {type(source).__name__}")
