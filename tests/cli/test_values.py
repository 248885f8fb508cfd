"""Words to values: which ones are refused."""

import argparse

import pytest

from pqmim.cli import values


@pytest.mark.parametrize(
    "kind, taken, refused",
    [
        (values.psnr, ["10", "35.5", "60"], ["9.99", "60.1", "nan", "inf", "high"]),
        (values.msssim, ["0.97", "1e-3"], ["0", "1", "1.5", "nan", ""]),
        (values.bpp, ["0.05", "100"], ["0", "-1", "101"]),
        (values.temperature, ["0.5", "16"], ["0", "16.1"]),
    ],
)
def test_the_ends_of_numbers(kind, taken, refused):
    assert [kind(text) for text in taken] == [float(text) for text in taken]
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError, match="is not a number"):
            kind(text)


@pytest.mark.parametrize("text", ["0" * 20 + "500", "1" * 25, "0x1", "-1", "", "५"])
def test_numbers_are_what_is_checked(text):
    assert [values.quality(fine) for fine in ("0", "000", "0" * 30 + "50")] == [0, 0, 50]
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 0 to 100"):
        values.quality(text)


def test_looks_by_name_and_number():
    assert [values.look(text) for text in ("faithful", "vivid", "0.25")] == [0, 1, 0.25]
    for text in ("dull", "1.5", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"a look is .*, not {text}"):
            values.look(text)


def test_an_msssim_of_one_is_a_usage_error(run, photo, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("compress", "photo.png", "--msssim", "1")
    assert stop.value.code == 2
    complaint = "argument --msssim: 1 is not a number above 0 and below 1\n"
    assert capsysbinary.readouterr().err.decode().endswith(complaint)
