"""What a user can cause and mend.

    PqmimError
    ├── BadArgument      an argument is of the right type and out of its range; also a ValueError
    ├── InvalidImage     a picture cannot be read, or has a size or form that the codec does not take
    ├── DamagedFile      a .pqm file breaks the format, ends inside its header, or fails its check
    │   └── TooShort     it ends inside its header: more bytes may mend it
    ├── UnsupportedFile  no .pqm file, or one that needs a newer pqmim or weights that are not here
    ├── WeightsError     a file of weights cannot be read, is damaged, or is of another kind
    ├── OutputError      a result cannot be written: the target exists, or its place is not writable
    └── MissingPackage   the work needs a package, an extra, that is not installed

An error has a message and a subject. The message is one clause that says what is wrong and what to do, without a name
in it and without a full stop at its end. The subject is the name of the file or argument that is at fault. Where the
code that finds the fault knows no name, as a reader of bytes does not, whoever knows it adds it with `about`:

    try:
        return read(data)
    except PqmimError as error:
        raise error.about(path)

`str(error)` is "subject: message", and the message alone without a subject. The command line prints it without a
traceback.
"""

import os


class PqmimError(Exception):
    """Any error that a user can cause and mend.

    Attributes:
        message: one clause, without a full stop.
        subject: the name of what is at fault; None where it is not named yet.
    """

    def __init__(self, message: str = "", subject: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.subject = None if subject is None else os.fspath(subject)

    def __str__(self) -> str:
        return self.message if self.subject is None else f"{self.subject}: {self.message}"

    def about(self, subject: str | os.PathLike[str]) -> "PqmimError":
        """Name the subject where there is none yet: the first name, given nearest to the fault, stays.

        Returns:
            This error, so that `raise error.about(name)` keeps its traceback and its cause.
        """
        if self.subject is None:
            self.subject = os.fspath(subject)
        return self


class BadArgument(PqmimError, ValueError):
    """Raised for an argument that is out of its range, or does not go with another; says what was given."""


class InvalidImage(PqmimError):
    """Raised when a picture cannot be read, or has a size or form that the codec does not take."""


class DamagedFile(PqmimError):
    """Raised when a .pqm file breaks the format, ends inside its header, or does not match its check."""


class TooShort(DamagedFile):
    """Raised when a .pqm file ends inside its header; whoever waits for more bytes may try again with them."""


class UnsupportedFile(PqmimError):
    """Raised for what is no .pqm file, and for one that needs a newer pqmim or weights that are not here."""


class WeightsError(PqmimError):
    """Raised when a file of weights cannot be read, is damaged, or is not of the kind that is asked for."""


class OutputError(PqmimError):
    """Raised when a result cannot be written: the target exists already, or its place is not writable."""


class MissingPackage(PqmimError):
    """Raised when work needs a package that is not installed; says how to install it."""
