"""The two networks of the decoder as ONNX graphs: `pip install '.[onnx]'`.

    prior.onnx      the transformer: residual streams to hidden states, exact on every number
    synthesis.onnx  latents to pixels

What surrounds them (header, range coder, schedule, embedding, heads, codebooks) is small and stays outside; `prior.py`
shows it for ONNX Runtime.
"""

from pqmim.onnx.export import export
from pqmim.onnx.prior import OnnxPrior

__all__ = ["OnnxPrior", "export"]
