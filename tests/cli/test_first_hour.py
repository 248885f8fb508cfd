"""The commands of docs/first-hour.md, as they stand there, by a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "first-hour.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
MADE = (
    *("photo.pqm", None, "back.png", "small.pqm", "two-kilobytes.pqm", "small/deep/b.pqm", "big/deep/b.jpg", None),
    *("half.png", "arriving.gif", "code.svg", "post.txt"),
)


def save_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8))
    coarse.resize((320, 240), Image.Resampling.BICUBIC).save(path)


def test_there_are_twelve_of_one_command_each():
    assert len(COMMANDS) == len(MADE) == len(re.findall(r"^## \d+\. ", TEXT, re.MULTILINE)) == 12
    assert not any("\n" in command for command in COMMANDS)


@pytest.mark.slow
def test_all_of_them_run(tmp_path):
    pytest.importorskip("segno")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "pqmim"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pqmim "$@"\n')
    script.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    save_photo(tmp_path / "photo.jpg", 0)
    save_photo(tmp_path / "holiday" / "a.jpg", 1)
    save_photo(tmp_path / "holiday" / "deep" / "b.png", 2)
    for command, made in zip(COMMANDS, MADE):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert made is None or (tmp_path / made).stat().st_size > 0
    assert (tmp_path / "two-kilobytes.pqm").stat().st_size == 2000
    assert len((tmp_path / "post.txt").read_text()) == 281
