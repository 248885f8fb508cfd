"""A table of photos to Parquet, by Daft: `pip install 'daft>=0.7' .` in a clone.

    python examples/batch_daft.py 'photos/*.jpg' small.parquet --workers 2

Daft reads from and writes to object stores by the same line.
"""

import argparse
import os
from typing import Any

from pqmim.batch import Compress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glob")
    parser.add_argument("target")
    parser.add_argument("-q", "--quality", type=int, default=50)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()

    import daft
    from daft import DataType, col

    fields = {"sha256": DataType.string(), "data": DataType.binary(), "bpp": DataType.float64()}
    kind = DataType.struct(fields | {"error": DataType.string()})

    @daft.cls(use_process=True, max_concurrency=args.workers)
    class Small:
        """Opens the codec once a process."""

        def __init__(self, quality: int) -> None:
            self.compress = Compress(quality, effort=0)

        @daft.method(return_dtype=kind)
        def row(self, path: str, photo: bytes) -> dict[str, Any]:
            found = self.compress.row(path, photo)
            return {name: found[name] for name in ("sha256", "data", "bpp", "error")}

    photos = daft.from_glob_path(args.glob).with_column("bytes", col("path").download(on_error="null"))
    small = Small(args.quality).row(col("path"), col("bytes"))
    photos.with_column("small", small).select("path", "small").write_parquet(args.target)


if __name__ == "__main__":
    main()
