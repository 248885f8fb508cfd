"""A tree of photos to an archive in shards, by processes of Dask: `pip install '.[batch]'` in a clone.

    python examples/batch_dask.py photos/ archive/ --workers 2

Stop it whenever you like: the same command goes on with the shards that are not done.
"""

import argparse
import os
import time

from pqmim.batch import Compress, CompressShard, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("archive")
    parser.add_argument("-q", "--quality", type=int, default=50)
    parser.add_argument("--effort", type=int, default=0, help="steps of refinement (default: 0, the fastest)")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--shard", type=int, default=100, help="photos of a shard")
    args = parser.parse_args()

    import dask
    import dask.bag

    work = CompressShard(args.photos, args.archive, Compress(args.quality, effort=args.effort))
    shards = plan(args.photos, args.shard)
    todo = work.left(shards)
    print(f"{len(shards)} shards, {len(shards) - len(todo)} of them done", flush=True)
    if not todo:
        return
    start = time.monotonic()
    with dask.config.set(scheduler="processes", num_workers=args.workers):
        done = dask.bag.from_sequence(todo, npartitions=len(todo)).map(work).compute()
    photos, errors = sum(row["photos"] for row in done), sum(row["errors"] for row in done)
    size = sum(row["bytes_out"] for row in done)
    print(f"{photos} photos in {time.monotonic() - start:.0f} s, {errors} could not be compressed; {size:,} bytes")


if __name__ == "__main__":
    main()
