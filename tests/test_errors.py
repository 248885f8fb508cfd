"""Errors carry a message and, once somebody knows it, a subject."""

import ast
import pickle
from pathlib import Path

import pytest

from pqmim import errors
from pqmim.errors import BadArgument, DamagedFile, PqmimError

SOURCES = Path(__file__).parents[1] / "src"


def test_without_a_subject_the_message_stands_alone():
    error = DamagedFile("the file is empty")
    assert (str(error), error.message, error.subject) == ("the file is empty", "the file is empty", None)


def test_a_subject_comes_first():
    error = DamagedFile("the file is empty", Path("a.pqm"))
    assert (str(error), error.subject) == ("a.pqm: the file is empty", "a.pqm")


def test_the_nearest_subject_stays():
    error = DamagedFile("the file is empty")
    assert error.about(Path("a.pqm")) is error and error.about("b.pqm") is error
    assert str(error) == "a.pqm: the file is empty"


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(BadArgument("101 is not in 0..100", "quality")))
    assert type(error) is BadArgument and str(error) == "quality: 101 is not in 0..100"
    assert (error.message, error.subject) == ("101 is not in 0..100", "quality")


def test_a_bad_argument_is_a_value_error():
    with pytest.raises(ValueError, match="quality: 101"):
        raise BadArgument("101 is not in 0..100", "quality")


def test_messages_are_clauses_and_names_of_files_stand_apart():
    """Of every error of ours that is made in place, as far as its text shows: the others are read by people."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py")}
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    ours = {"PqmimError"}
    while more := {name for name, above in bases.items() if above & ours} - ours:
        ours |= more
    seen, wrong = 0, []
    for path, tree in trees.items():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ours and call.args:
                text = ast.unparse(call.args[0]).strip("f'\"")
                seen += 1
                if text.endswith(".") or text.startswith(("{path", "{folder", "{file", "{out", "{target", "{source")):
                    wrong.append((path.name, text))
    assert seen > 150 and wrong == []


def test_the_docstring_draws_every_class():
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) == 9
    for error in classes:
        assert issubclass(error, PqmimError) and error.__name__ in (errors.__doc__ or "")
