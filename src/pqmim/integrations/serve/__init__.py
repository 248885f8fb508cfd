"""The page of `pqmim serve`: `pip install '.[serve]'`. Nothing is kept: each request carries what it works on."""

from pqmim.integrations.serve.app import make_app
from pqmim.integrations.serve.guard import Limits

__all__ = ["Limits", "make_app"]
