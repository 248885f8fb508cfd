"""A tree of photos to an archive in shards, by actors of Ray Data: `pip install 'ray[data]' .` in a clone.

    python examples/batch_ray.py photos/ archive/ --workers 2
    python examples/batch_ray.py photos/ archive/ --workers 8 --gpu

Each actor opens the codec once. Stop it whenever you like: the same command goes on with the shards that are not done.
"""

import argparse
import os
import time
from typing import Any

from pqmim.batch import Compress, CompressShard, Shard, plan


class Actor:
    """Does the shards that Ray hands to it."""

    def __init__(self, photos: str, archive: str, options: dict[str, Any]) -> None:
        self.work = CompressShard(photos, archive, Compress(**options))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One shard."""
        return self.work(Shard(row["name"], tuple(row["paths"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("archive")
    parser.add_argument("-q", "--quality", type=int, default=50)
    parser.add_argument("--effort", type=int, default=0, help="steps of refinement (default: 0, the fastest)")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--shard", type=int, default=100, help="photos of a shard")
    parser.add_argument("--gpu", action="store_true", help="one CUDA device for each worker")
    args = parser.parse_args()

    import ray
    from ray.data import ActorPoolStrategy

    options = {"quality": args.quality, "effort": args.effort, "device": "cuda" if args.gpu else "cpu"}
    shards = plan(args.photos, args.shard)
    todo = CompressShard(args.photos, args.archive, Compress(**options)).left(shards)
    print(f"{len(shards)} shards, {len(shards) - len(todo)} of them done", flush=True)
    if not todo:
        return
    ray.init(num_cpus=args.workers + 1)  # one for Ray's own tasks, which would wait for the workers' for ever
    start = time.monotonic()
    rows = ray.data.from_items([{"name": shard.name, "paths": list(shard.paths)} for shard in todo])
    done = (
        rows.repartition(len(todo))
        .map(
            Actor,
            fn_constructor_args=(os.path.abspath(args.photos), os.path.abspath(args.archive), options),
            compute=ActorPoolStrategy(size=args.workers),
            num_gpus=1 if args.gpu else 0,
        )
        .take_all()
    )
    photos, errors = sum(row["photos"] for row in done), sum(row["errors"] for row in done)
    size = sum(row["bytes_out"] for row in done)
    print(f"{photos} photos in {time.monotonic() - start:.0f} s, {errors} could not be compressed; {size:,} bytes")


if __name__ == "__main__":
    main()
