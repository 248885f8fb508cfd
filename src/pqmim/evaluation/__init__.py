"""Rates, distortions and speed, measured on real files."""
