"""Tensors: transforms, product quantizer, masked prior and its integer form."""
