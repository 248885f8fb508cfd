"""A table of photos to Parquet, by Daft: `pip install daft .` in a clone.

    python examples/batch_daft.py 'photos/*.jpg' small.parquet

Daft reads from and writes to object stores by the same line.
"""

import argparse
from typing import Any

from pqmim.batch import Compress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glob")
    parser.add_argument("target")
    parser.add_argument("-q", "--quality", type=int, default=50)
    args = parser.parse_args()

    import daft
    from daft import DataType, Series, col

    fields = {"sha256": DataType.string(), "data": DataType.binary(), "bpp": DataType.float64()}
    kind = DataType.struct(fields | {"error": DataType.string()})

    @daft.udf(return_dtype=kind)
    class Small:
        """Opens the codec once a process."""

        def __init__(self) -> None:
            self.compress = Compress(args.quality, effort=0)

        def __call__(self, paths: Series, photos: Series) -> list[dict[str, Any]]:
            rows = [self.compress.row(*pair) for pair in zip(paths.to_pylist(), photos.to_pylist(), strict=True)]
            return [{name: row[name] for name in (*fields, "error")} for row in rows]

    photos = daft.from_glob_path(args.glob).with_column("bytes", col("path").url.download(on_error="null"))
    photos.with_column("small", Small(col("path"), col("bytes"))).select("path", "small").write_parquet(args.target)


if __name__ == "__main__":
    main()
