"""An optional library in C that makes coding fast. What a file decodes to is the same without it.

    library = native.library()      the library, or None
    native.reason()                 why there is none

It is compiled when the package is installed, where a C compiler is there, or by `python -m pqmim.native build`. The
variable `PQMIM_NATIVE` chooses a level of instructions by name, `scalar` being the plainest, or `off`.
"""

from pqmim.native.loader import Library, library, reason

__all__ = ["Library", "library", "reason"]
