"""`python -m pqmim.native build` compiles the library into the user's cache; `python -m pqmim.native` says what is there."""

import sys

from pqmim.native import build, loader


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit status."""
    if arguments not in ([], ["build"]):
        print("usage: python -m pqmim.native [build]", file=sys.stderr)
        return 2
    if arguments:
        try:
            levels = build.build(loader.cached())
        except build.BuildError as error:
            print(f"pqmim: {error}", file=sys.stderr)
            return 1
        print(f"{loader.cached()}: {', '.join(levels)}")
        return 0
    found = loader.library()
    print(loader.reason() if found is None else f"{found.path}: {', '.join(found.levels)} of {', '.join(found.known)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
