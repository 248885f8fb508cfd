"""Vanilla VQ-VAE (van den Oord, Vinyals and Kavukcuoglu 2017)."""
