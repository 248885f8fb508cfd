"""The codec as a torch module, in the shape of CompressAI's models: see `integrations.compressai`."""

from pqmim.integrations.compressai import Model

__all__ = ["Model"]
