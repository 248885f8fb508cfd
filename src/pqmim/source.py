"""Where the bytes of a .pqm file come from: bytes, a path, or a binary file object."""

import os
from typing import BinaryIO, TypeAlias, Union

from pqmim.bitstream.container import read_stream
from pqmim.errors import PqmimError

Source: TypeAlias = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", BinaryIO]


def data_of(source: Source) -> bytes:
    """The bytes of one file, and of an endless source no more than its header asks for.

    Args:
        source: the bytes themselves, a path, or an object whose `read()` gives bytes.

    Raises:
        DamagedFile, UnsupportedFile: the source does not begin with the header of a file.
        OSError: the path cannot be read.
        TypeError: the source is of another kind.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            try:
                return read_stream(file)
            except PqmimError as error:
                raise error.about(source) from None
    if callable(getattr(source, "read", None)):
        if isinstance(data := source.read(0), bytes):
            return read_stream(source)
        raise TypeError(f"a file object must be opened in binary mode: its read() gave {type(data).__name__}")
    raise TypeError(f"a .pqm file is bytes, a path or a binary file object, not {type(source).__name__}")
