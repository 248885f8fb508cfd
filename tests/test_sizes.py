"""Files under 400 lines, functions under 60, as CONTRIBUTING.md says."""

import ast
from pathlib import Path

FILES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))


def test_files_and_functions_are_short():
    long = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines >= 400:
            long.append((path.name, lines))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno + 1 >= 60:
                long.append((path.name, node.name))
    assert len(FILES) > 100 and long == []
