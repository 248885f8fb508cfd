import inspect
import io
import os
import pkgutil
import subprocess
import sys
import threading
import types
from functools import cache
from pathlib import Path

import pytest

import pqmim
from pqmim.bitstream.container import write
from pqmim.bitstream.header import Header

HEAVY = ("torch", "numpy", "PIL", "tqdm")


def modules_after(code: str) -> set[str]:
    """What a fresh Python has imported after running this."""
    code += "\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stderr.split())


def test_import_is_light():
    assert modules_after("import pqmim").isdisjoint(HEAVY)


@pytest.mark.parametrize("words", [["info", "a.pqm"], ["info", "--json", "a.pqm", "a.pqm"]])
def test_info_is_light(tmp_path, words):
    (tmp_path / "a.pqm").write_bytes(write(Header(24, 16, 50, 1), b"abc", {}, b"abc"))
    words = [str(tmp_path / word) if word == "a.pqm" else word for word in words]
    assert modules_after(f"from pqmim.cli import main; assert main({words}) == 0").isdisjoint(HEAVY)


def test_samples_have_the_same_temperature_by_either_way():
    from pqmim.codec import Codec
    from pqmim.coding.sampler import COMPLETING

    for decoding in (pqmim.decompress, Codec.render):
        assert inspect.signature(decoding).parameters["temperature"].default == COMPLETING


def test_help_is_light():
    loaded = modules_after("from pqmim.cli import main\ntry: main(['compress', '--help'])\nexcept SystemExit: pass")
    assert loaded.isdisjoint(HEAVY)


def test_the_package_codec_is_opened_once_and_shared(monkeypatch):
    class Codec:
        opened = 0

        def __init__(self):
            Codec.opened += 1

        def compress(self, image, quality, *, effort, **options):
            return f"{image} {quality} {effort}".encode()

        def decompress(self, data, **options):
            return data.decode()

        def generate(self, width, height, **options):
            return f"{width}x{height} {options}"

    module = types.ModuleType("pqmim.codec")
    module.Codec = Codec
    monkeypatch.setitem(sys.modules, "pqmim.codec", module)
    monkeypatch.setattr(pqmim, "_shared_codec", cache(pqmim._shared_codec.__wrapped__))
    assert pqmim.Codec is Codec
    assert pqmim.compress("a.png") == b"a.png 50 None"
    assert pqmim.compress("a.png", quality=7) == b"a.png 7 None"
    assert pqmim.compress("a.png", 7, effort=8) == b"a.png 7 8"
    assert pqmim.decompress(b"a.png 7") == "a.png 7"
    assert pqmim.generate(24, quality=9).startswith("24x512 {'quality': 9")
    assert Codec.opened == 1


def test_files_are_bytes_paths_or_file_objects(tmp_path):
    data = write(Header(24, 16, 50, 1), b"abc", {}, b"abc")
    path = tmp_path / "a.pqm"
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        assert pqmim.info(source)["bytes"] == len(data)
    for source, kind in ((3, "int"), (None, "NoneType"), ([data], "list"), (io.StringIO("abc"), "str")):
        with pytest.raises(TypeError, match=kind):
            pqmim.info(source)
    with pytest.raises(FileNotFoundError):
        pqmim.info(tmp_path / "b.pqm")


def test_info_and_errors_need_no_codec():
    assert pqmim.info(write(Header(24, 16, 50, 1), b"abc", {}, b"abc"))["width"] == 24
    with pytest.raises(pqmim.UnsupportedFile):
        pqmim.info(b"no .pqm file")
    assert issubclass(pqmim.DamagedFile, pqmim.PqmimError)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="decode_all"):
        _ = pqmim.decode_all


def test_info_of_an_endless_source_reads_its_beginning(tmp_path):
    data = write(Header(24, 16, 50, 1), b"abc", {}, b"abc")

    class Endless:
        taken = 0

        def read(self, size=-1):
            assert size >= 0
            start = self.taken
            self.taken += size
            return (data + bytes(self.taken))[start : self.taken]

    source = Endless()
    with pytest.raises(pqmim.DamagedFile, match="after its end"):
        pqmim.info(source)
    assert source.taken <= 64
    path = tmp_path / "a.pqm"
    path.write_bytes(data)
    assert pqmim.info(path) == pqmim.info(data) == pqmim.info(io.BytesIO(data))
    path.write_bytes(b"text")
    with pytest.raises(pqmim.UnsupportedFile, match=r"a\.pqm: this is not a \.pqm file"):
        pqmim.info(path)


def test_import_contracts_leave_no_module_out():
    tomllib = pytest.importorskip("tomllib")
    tables = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    sides = {
        table["name"]: [table.get(side, []) for side in ("source_modules", "forbidden_modules")] for table in tables
    }
    every = {f"pqmim.{module.name}" for module in pkgutil.iter_modules(pqmim.__path__)}

    def others(*names):
        return every - {f"pqmim.{name}" for name in names}

    ground, rooms = ("errors", "files", "native"), ("coding", "bitstream", "image")
    _, forbidden = sides["Coding, bitstream and image stand on nothing of ours but errors, files and native"]
    assert set(forbidden) == others(*ground, *rooms)
    assert set(sides["Models do not look up"][1]) == others(*ground, "coding", "models")
    sources, _ = sides["Training is used by the command line and by rivals alone"]
    assert set(sources) == others("__main__", "cli", "rivals", "training")
    hall, doors = sides["The hall knows none of its doors"]
    assert {*hall, *doors} == others(*ground, *rooms, "models", "threads") and set(hall).isdisjoint(doors)


def test_threads_that_start_together_share_one_codec(monkeypatch):
    made, barrier, begun = [], threading.Barrier(4), threading.Event()

    class Codec:
        def __init__(self):
            made.append(self)
            begun.wait(0.2)  # long enough for others to come

    module = types.ModuleType("pqmim.codec")
    module.Codec = Codec
    monkeypatch.setitem(sys.modules, "pqmim.codec", module)
    monkeypatch.setattr(pqmim, "_shared_codec", cache(pqmim._shared_codec.__wrapped__))

    def ask():
        barrier.wait()
        pqmim.shared_codec()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
