"""An archive of photos in shards. A finished shard is not done again, so a job that was stopped can be resumed.

    archive/shard-00012.tar     the .pqm files, under the names of their photos
    archive/shard-00012.jsonl   the list of them, one JSON object a line: path, sha256, bytes, bpp, error

The list is written last, whole or not at all. Its first line says what the shard was made of and how: a shard that has
one of the same photos, options and weights is done. Photos that could not be compressed are rows with an error in it;
without its list a shard is done again, with these. Millions of small files stay away from file systems that do not like
them, and no photo is lost or doubled however often the job dies.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pqmim.errors import OutputError
from pqmim.files import write_atomically
from pqmim.image.endings import PICTURES
from pqmim.integrations.batch import Compress


@dataclass(frozen=True)
class Shard:
    """Photos that are worked on together.

    Attributes:
        name: of its files in the archive, without an ending.
        paths: of the photos, below the folder of all.
    """

    name: str
    paths: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Changes with the list of photos."""
        return hashlib.sha256("\0".join(self.paths).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def plan(photos: str | os.PathLike[str], size: int = 100) -> list[Shard]:
    """The photos of a tree in shards of `size`, always the same for the same tree."""
    root = Path(photos)
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() in PICTURES)
    return [
        Shard(f"shard-{number:05}", tuple(paths[start : start + size]))
        for number, start in enumerate(range(0, len(paths), size))
    ]


class CompressShard:
    """Does one shard: reads its photos, compresses them, writes its two files.

    Args:
        photos: the folder of all photos.
        archive: the folder of the archive, made if it does not exist.
        compress: what to do with a photo.
    """

    def __init__(
        self, photos: str | os.PathLike[str], archive: str | os.PathLike[str], compress: Compress | None = None
    ) -> None:
        self._photos, self._archive = Path(photos), Path(archive)
        self._compress = compress or Compress()
        self._archive.mkdir(parents=True, exist_ok=True)

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Do it.

        Returns:
            `shard`, `photos`, `errors`, `bytes_in`, `bytes_out`.

        Raises:
            WeightsError: the codec cannot be opened; the shard is not done.
            OutputError: the archive cannot be written.
        """
        rows: list[dict[str, Any]] = []
        buffer = io.BytesIO()
        bytes_in = 0
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path in shard.paths:
                row = self._row(path)
                bytes_in += row.pop("bytes_in")
                data = row.pop("data")
                if data:
                    member = tarfile.TarInfo(f"{path}.pqm")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                rows.append({**row, "bytes": len(data)})
        head = {**self._key(shard), "photos": len(rows)}
        lines = "".join(json.dumps(line) + "\n" for line in [head, *rows])
        (self._archive / f"{shard.name}.jsonl").unlink(missing_ok=True)  # that of another tar
        write_atomically(self._archive / f"{shard.name}.tar", buffer.getvalue(), force=True)
        write_atomically(self._archive / f"{shard.name}.jsonl", lines.encode(), force=True)
        return {
            "shard": shard.name,
            "photos": len(rows),
            "errors": sum(bool(row["error"]) for row in rows),
            "bytes_in": bytes_in,
            "bytes_out": sum(row["bytes"] for row in rows),
        }

    def left(self, shards: Iterable[Shard]) -> list[Shard]:
        """Those of a plan that are not done yet, or were done of other photos, with other options or other weights.

        Raises:
            WeightsError: the weights cannot be read.
            OutputError: the archive holds a shard that is not of the plan, as after another `size`: some of its photos
                would be in the archive twice, or are no longer wanted. It is not removed.
        """
        planned = list(shards)
        found = {path.stem for path in self._archive.glob("shard-*") if path.suffix in (".tar", ".jsonl")}
        strange = found - {shard.name for shard in planned}
        if strange:
            message = f"holds shards that are not of this plan, such as {min(strange)}: remove them, or use another"
            raise OutputError(message, self._archive)
        return [shard for shard in planned if self._listed(shard) is None]

    def manifest(self, shards: Iterable[Shard]) -> list[dict[str, Any]]:
        """The rows of those of a plan that are done, each with the name of its shard.

        Raises:
            WeightsError: the weights cannot be read.
        """
        return [{"shard": shard.name, **row} for shard in shards for row in self._listed(shard) or ()]

    def _key(self, shard: Shard) -> dict[str, str]:
        """What a shard is made of, and how."""
        return {"shard": shard.name, "digest": shard.digest, "settings": self._compress.settings}

    def _listed(self, shard: Shard) -> list[dict[str, Any]] | None:
        """The rows of a shard that is done; None for others."""
        try:
            head, *rows = map(json.loads, (self._archive / f"{shard.name}.jsonl").read_text().splitlines())
            same = head.items() >= self._key(shard).items()
        except (OSError, ValueError, AttributeError):
            return None
        return rows if same else None

    def _row(self, path: str) -> dict[str, Any]:
        try:
            photo = (self._photos / path).read_bytes()
        except OSError as error:
            message = error.strerror or str(error)
            return {"path": path, "sha256": "", "data": b"", "bpp": 0.0, "error": message, "bytes_in": 0}
        return self._compress.row(path, photo) | {"bytes_in": len(photo)}
