"""Errors carry a message and, once somebody knows it, a subject."""

import pickle
from pathlib import Path

import pytest

from pqmim import errors
from pqmim.errors import BadArgument, DamagedFile, PqmimError


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


def test_the_docstring_draws_every_class():
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) == 9
    for error in classes:
        assert issubclass(error, PqmimError) and error.__name__ in (errors.__doc__ or "")
