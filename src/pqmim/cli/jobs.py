"""Names of files: what they stand for, which ones a command works on, and where its results go."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pqmim.errors import OutputError, PqmimError
from pqmim.image.endings import UNREAD

STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One file to work on.

    Attributes:
        source: its name; `STREAM` is standard input, and without a name the result is made of nothing.
        target: where the result goes; `STREAM` is standard output.
        number: which of several results of this source it is, from 0.
    """

    source: str
    target: str = STREAM
    number: int = 0

    @property
    def name(self) -> str:
        """The source as a person reads it; of what is made of nothing, the target."""
        return "standard input" if self.source == STREAM else self.source or self.target


@dataclass(frozen=True)
class Wanted:
    """What a verb takes and makes.

    Attributes:
        takes: endings of the files that a folder stands for.
        makes: endings of results; the first is that of a result that nobody named.
        recursive: folders stand for what is in their folders, too.
        told: a format was named, so that an existing file needs no ending.
    """

    takes: tuple[str, ...]
    makes: tuple[str, ...]
    recursive: bool = False
    told: bool = False


def alone(jobs: Sequence[Job]) -> bool:
    """Whether standard input and output serve one job, with none beside it: lines about others would mix with a file."""
    return len(jobs) < 2 or not any(STREAM in (job.source, job.target) for job in jobs)


def is_pqm(name: str) -> bool:
    """Whether a name ends as a .pqm file's does."""
    return name.lower().endswith(".pqm")


def is_device(name: str | os.PathLike[str]) -> bool:
    """Whether a name stands for a device, a named pipe or the like: for what cannot be replaced or read back."""
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


def ending(name: str) -> str:
    """The ending of a name in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def expand(paths: Sequence[str], wanted: Wanted) -> list[tuple[str, str]]:
    """Files and their names below the folder that they were found in, as named; a folder's in order.

    Raises:
        PqmimError: a folder holds no such file.
        OSError: a folder cannot be read.
    """
    files: list[tuple[str, str]] = []
    for path in paths:
        if not os.path.isdir(path):
            files.append((path, os.path.basename(path)))
            continue
        inside = _inside(path, wanted)
        if not inside:
            deeper = "" if wanted.recursive else "; -r looks into its folders, too"
            raise PqmimError(f"a folder without a file that ends in {', '.join(wanted.takes)}{deeper}", path)
        files += [(os.path.join(path, name), name) for name in inside]
    return files


def passed_over(paths: Sequence[str], recursive: bool) -> Counter[str]:
    """How many pictures of kinds that are not read there are in the folders among `paths`, by their endings."""
    found: Counter[str] = Counter()
    for path in filter(os.path.isdir, paths):
        for _, _, names in os.walk(path):
            found.update(end for end in map(ending, names) if end in UNREAD)
            if not recursive:
                break
    return found


def plan(paths: Sequence[str], output: str | None, wanted: Wanted) -> list[Job]:
    """A job for each file.

    Args:
        paths: files, folders, or `STREAM`.
        output: None: results lie beside their sources; a name that ends as results do: the one result; else a folder.
        wanted: what the verb takes and makes.

    Raises:
        OutputError: the results have no place.
    """
    files = expand(paths, wanted)
    if output is None:
        return _apart([Job(path, _beside(path, wanted.makes[0])) for path, _ in files])
    if not _is_folder(output, wanted):
        if len(files) > 1:
            raise OutputError(f"{len(files)} results need a folder: end the name in /", output)
        return [Job(files[0][0], output)]
    if any(path == STREAM for path, _ in files):
        raise OutputError(f"name the output, as in `-o {os.path.join(output, 'photo')}{wanted.makes[0]}`", STREAM)
    return _apart([Job(path, os.path.join(output, _beside(name, wanted.makes[0]))) for path, name in files])


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the folders that results go into.

    Raises:
        OutputError: one of them is a file.
    """
    for folder in {os.path.dirname(job.target) for job in jobs if job.target != STREAM}:
        if folder:
            try:
                os.makedirs(folder, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise OutputError("cannot be made: a file is in its place", folder) from error


def pair(paths: Sequence[str], output: str | None, wanted: Wanted) -> list[Job] | None:
    """The one job of `PHOTO PHOTO.pqm`, two names of which the second is a result; None where they are not that.

    Raises:
        OutputError: the second name is neither a file nor that of a result.
    """
    if output is not None or len(paths) != 2:
        return None
    source, target = paths
    if target == STREAM or ending(target) in wanted.makes and ending(target) not in wanted.takes:
        return [Job(source, target)]
    if (
        not os.path.lexists(target)
        and (source == STREAM or os.path.isfile(source))
        and ending(target) not in wanted.takes
    ):
        names = f"{os.path.splitext(target)[0]}{wanted.makes[0]}"
        raise OutputError(f"there is no such file; to write to it, name it {names}, or a folder with -o", target)
    return None


def numbered(target: str, count: int) -> list[str]:
    """The target, or as many as asked for with -1, -2 ... before the ending."""
    if count == 1:
        return [target]
    stem, end = os.path.splitext(target)
    return [f"{stem}-{number}{end}" for number in range(1, count + 1)]


def check_target(target: str | os.PathLike[str], force: bool) -> None:
    """Before any work is done.

    Raises:
        OutputError: writing is bound to fail.
    """
    if os.path.isdir(target):
        raise OutputError("cannot be written: it is a folder; to write into it, use -o", target)
    if os.path.isfile(target) and not force:
        raise OutputError("exists already: choose another name, or overwrite it with --force", target)
    if is_device(target):
        return  # its folder does not matter
    folder = os.path.dirname(target) or "."
    if not os.path.isdir(folder):
        raise OutputError(f"cannot be written: there is no folder {folder}", target)
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot be written: the folder {folder} is read-only", target)


def _is_folder(output: str, wanted: Wanted) -> bool:
    if output == STREAM:
        return False
    if os.path.isdir(output) or output.endswith(("/", os.sep)):
        return True
    if is_device(output):
        return False
    if ending(output) in wanted.makes:
        return False
    if os.path.exists(output):
        if wanted.told:
            return False
        raise OutputError(f"a file that does not end in {', '.join(wanted.makes)}", output)
    if ending(output):
        none = (
            f"ends in none of {', '.join(wanted.makes)}"
            if len(wanted.makes) > 1
            else f"does not end in {wanted.makes[0]}"
        )
        raise OutputError(f"{none}; for a folder, end the name in /", output)
    return True


def _inside(folder: str, wanted: Wanted) -> list[str]:
    """Names of a folder's files, and of the folders in it that cannot be read, which fail as a file would."""
    found: list[str] = []
    unreadable: list[str] = []

    def keep(error: OSError) -> None:
        if error.filename == folder:
            raise error
        unreadable.append(os.path.relpath(error.filename, folder))

    for base, folders, names in os.walk(folder, onerror=keep):
        folders.sort()
        inner = os.path.relpath(base, folder)
        found += [os.path.normpath(os.path.join(inner, name)) for name in sorted(names) if ending(name) in wanted.takes]
        if not wanted.recursive:
            break
    return [name for name in found if not os.path.isdir(os.path.join(folder, name))] + unreadable


def _beside(path: str, end: str) -> str:
    return STREAM if path == STREAM else os.path.splitext(path)[0] + end


def _apart(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with targets of their own: names that collide keep the endings of their sources, then get numbers."""
    counts = Counter(job.target.casefold() for job in jobs)
    taken: set[str] = set()
    apart = []
    for job in jobs:
        target = job.target
        end = ending(target)
        if target != STREAM and counts[target.casefold()] > 1:
            target = os.path.join(os.path.dirname(target), os.path.basename(job.source) + end)
        stem, number = os.path.splitext(target)[0], 2
        while target != STREAM and target.casefold() in taken:
            target, number = f"{stem}-{number}{end}", number + 1
        taken.add(target.casefold())
        apart.append(Job(job.source, target))
    return apart
