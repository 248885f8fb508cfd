import io
import pickle
import subprocess
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pqmim.batch import Compress, CompressShard, plan
from pqmim.errors import BadArgument, InvalidImage, OutputError, WeightsError
from pqmim.results import Encoded

ROOT = Path(__file__).parents[2]


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def codec(monkeypatch):
    class Codec:
        opened = 0

        def __init__(self, weights, device, threads):
            Codec.opened += 1
            assert (weights, device, threads) == (None, "cpu", 1)

        def encode(self, photo, **options):
            Codec.options = options
            if not photo.startswith(b"\x89PNG"):
                raise InvalidImage("no picture")
            red = Image.open(io.BytesIO(photo)).getpixel((0, 0))[0]
            return Encoded(bytes([red, 0, 0]), 8, 8, options["quality"])

    module = types.ModuleType("pqmim.codec")
    module.Codec = Codec
    monkeypatch.setitem(sys.modules, "pqmim.codec", module)
    return Codec


@pytest.mark.parametrize("kind", [list, lambda values: np.array(values, object)])
def test_a_bad_photo_is_a_row(codec, kind):
    compress = Compress(30, effort=0)
    result = compress({"path": kind(["a", "b", "c"]), "bytes": kind([png(1), b"none", png(2)])})
    assert result["path"].tolist() == ["a", "b", "c"]
    assert result["data"].tolist() == [b"\1\0\0", b"", b"\2\0\0"]  # zeros at the end are kept
    assert result["error"].tolist() == ["", "no picture", ""]
    assert result["bpp"].tolist() == [24 / 64, 0, 24 / 64] and len(set(result["sha256"])) == 3
    assert codec.options == {"quality": 30, "effort": 0}
    compress({"path": ["a"], "bytes": [png()]})
    assert codec.opened == 1


def test_what_an_engine_cannot_give_or_memory_cannot_hold_is_a_row(codec, monkeypatch):
    def encode(self, photo, **options):
        raise RuntimeError("CUDA out of memory")

    compress = Compress(30)
    result = compress({"path": ["a", "b"], "bytes": [None, png(1)]})
    assert result["error"].tolist() == ["there are no bytes, but None", ""] and result["data"][1] == b"\1\0\0"
    assert result["sha256"][0] == "" and len(result["sha256"][1]) == 64
    monkeypatch.setattr(codec, "encode", encode)
    assert compress({"path": ["a"], "bytes": [png(1)]})["error"].tolist() == ["CUDA out of memory"]


def test_it_goes_to_other_processes_without_its_codec(codec):
    compress = Compress(7)
    compress({"path": ["a"], "bytes": [png()]})
    twin = pickle.loads(pickle.dumps(compress))
    assert codec.opened == 1
    twin({"path": ["a"], "bytes": [png()]})
    assert codec.opened == 2 and codec.options == {"quality": 7}


@pytest.fixture
def photos(tmp_path):
    for number in range(7):
        path = tmp_path / "photos" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"none")
    (tmp_path / "photos" / "notes.txt").write_text("none")
    return tmp_path / "photos"


def test_no_photo_is_lost_or_doubled(codec, photos):
    archive = photos.parent / "archive"
    shards = plan(photos, 3)
    assert [len(shard.paths) for shard in shards] == [3, 3, 2]
    work = CompressShard(photos, archive)
    assert work(shards[1])["photos"] == 3
    (archive / "shard-00002.tar").write_bytes(b"half a")  # as a process that died may leave it
    assert [shard.name for shard in work.left(plan(photos, 3))] == ["shard-00000", "shard-00002"]
    summary = [work(shard) for shard in work.left(plan(photos, 3))]
    assert work.left(plan(photos, 3)) == [] and sum(row["errors"] for row in summary) == 1
    rows = work.manifest(shards)
    assert sorted(row["path"] for row in rows) == sorted(path for shard in shards for path in shard.paths)
    assert [row["path"] for row in rows if row["error"]] == ["bad.jpg"]
    for row in rows:
        with tarfile.open(archive / f"{row['shard']}.tar") as tar:
            if not row["error"]:
                assert tar.extractfile(f"{row['path']}.pqm").read()[0] == int(Path(row["path"]).stem)


def test_a_changed_tree_is_not_done(codec, photos):
    work = CompressShard(photos, photos.parent / "archive")
    for shard in plan(photos, 3):
        work(shard)
    (photos / "1" / "9.png").write_bytes(png(9))
    assert [shard.name for shard in work.left(plan(photos, 3))] == ["shard-00002"]


@pytest.mark.parametrize("other", ["options", "weights"])
def test_a_shard_of_other_options_or_weights_is_not_done(codec, photos, monkeypatch, other):
    archive, shards = photos.parent / "archive", plan(photos, 3)
    work = CompressShard(photos, archive, Compress(40))
    for shard in shards:
        work(shard)
    assert work.left(shards) == [] and len(work.manifest(shards)) == 8
    if other == "weights":
        later = types.SimpleNamespace(digest="of a later release")
        monkeypatch.setattr("pqmim.integrations.batch.load", lambda path: later)
    anew = CompressShard(photos, archive, Compress(90 if other == "options" else 40))
    assert anew.left(shards) == shards and anew.manifest(shards) == []
    anew(shards[0])
    assert anew.left(shards) == shards[1:] and {row["shard"] for row in anew.manifest(shards)} == {"shard-00000"}


def test_an_archive_of_another_plan_is_refused(codec, photos):
    work = CompressShard(photos, photos.parent / "archive")
    for shard in plan(photos, 2):
        work(shard)
    with pytest.raises(OutputError, match="such as shard-00002"):
        work.left(plan(photos, 4))
    assert work.manifest(plan(photos, 4)) == []


def test_a_list_goes_before_the_tar_that_it_is_of(codec, photos, monkeypatch):
    archive, [shard] = photos.parent / "archive", plan(photos, 100)
    work = CompressShard(photos, archive, Compress(40))
    work(shard)

    def write(path, data, force):
        (archive / "shard-00000.tar").write_bytes(data)
        raise OutputError("no room", path)

    with monkeypatch.context() as patch:
        patch.setattr("pqmim.integrations.shards.write_atomically", write)
        with pytest.raises(OutputError):
            CompressShard(photos, archive, Compress(90))(shard)
    assert work.left([shard]) == [shard]


@pytest.mark.parametrize("options", [{"quality": 200}, {"effort": -1}, {"size": 200, "bpp": 1}, {"psnr": 0}])
def test_wrong_settings_are_told_at_once(options):
    with pytest.raises(BadArgument):
        Compress(**options)


def test_a_shard_without_weights_is_not_done(photos, tmp_path):
    archive, shards = photos.parent / "archive", plan(photos, 100)
    with pytest.raises(WeightsError, match="nowhere"):
        CompressShard(photos, archive, Compress(weights=str(tmp_path / "nowhere.safetensors")))(shards[0])
    assert CompressShard(photos, archive).left(shards) == shards and not list(archive.iterdir())


def test_a_photo_that_went_away_is_a_row(codec, photos):
    [shard] = plan(photos, 100)
    (photos / "0" / "0.png").unlink()
    assert CompressShard(photos, photos.parent / "archive")(shard)["errors"] == 2


def test_the_lora_example_runs(tmp_path):
    [file] = ROOT.glob("tests/golden/*coffee-2000-bytes.pqm")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "lora.py"), str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
    )
    assert "in 43 packets of at most 51" in done.stdout and "in 10 packets of at most 222" in done.stdout
    assert done.stdout.count("sent") >= 3


@pytest.mark.parametrize("name", ["batch_ray", "batch_dask", "batch_daft"])
def test_examples_are_python(name):
    compile((ROOT / "examples" / f"{name}.py").read_text(), name, "exec")


@pytest.mark.parametrize("photo", [5, [300], "text"])
def test_what_is_no_bytes_is_a_row(codec, photo):
    result = Compress(30)({"path": ["a", "b"], "bytes": [photo, png(1)]})
    assert result["error"].tolist() == [f"there are no bytes, but {photo!r}", ""]
