"""Archives of photos on an engine, or without one: see `docs/batch.md` and `examples/`.

Example:
    from pqmim.batch import Compress

    dataset = ray.data.read_binary_files("s3://photos", include_paths=True)
    dataset.map_batches(Compress, fn_constructor_kwargs={"quality": 40}, batch_size=16).write_parquet("s3://small")
"""

from pqmim.integrations.batch import Compress
from pqmim.integrations.shards import CompressShard, Shard, plan

__all__ = ["Compress", "CompressShard", "Shard", "plan"]
