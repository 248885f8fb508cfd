"""Looks for inputs that break what reads bytes of strangers: see `targets` for what, and `__main__` for how."""
