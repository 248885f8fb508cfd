"""Pixels in and out: pictures as people have them, alpha, files."""
