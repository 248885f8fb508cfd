"""What can be wrong with a user's files.

A message is one clause that says what is wrong and what to do. It leaves out the name of the file, which only the
caller knows: print it as `name: message`.
"""


class PqmimError(Exception):
    """Any error that a user can cause and mend; the command line prints it without a traceback."""


class DamagedFile(PqmimError):
    """Raised when a .pqm file breaks the format, ends inside its header, or does not match its check."""


class UnsupportedFile(PqmimError):
    """Raised for what is no .pqm file, and for one that needs a newer pqmim or weights that are not here."""


class InvalidImage(PqmimError):
    """Raised when a picture cannot be read, or has a size or form that the codec does not take."""


class OutputError(PqmimError):
    """Raised when a result cannot be written: the target exists already, or its place is not writable."""
