"""Integers to bytes and back: frequencies, schedules and the range coder. Knows nothing of images, tensors or files."""
