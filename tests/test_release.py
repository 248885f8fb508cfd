"""Releases: an id for what decides codes alone, a digest for all, and no torch to read them."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pqmim.coding.schedule import Group
from pqmim.errors import OutputError, PqmimError, UnsupportedFile, WeightsError
from pqmim.release import FOLDER, PARTS, find, id_of, installed, load, save


def parts_of(release):
    return {part: release.part(part) for part in PARTS}


def test_what_was_written_is_read(tiny_weights, tmp_path):
    release = load(tiny_weights)
    assert save(tmp_path / "again.safetensors", release.record, parts_of(release)) == release.id
    again = load(tmp_path / "again.safetensors")
    assert (again.id, again.record, again.digest) == (release.id, release.record, release.digest)
    assert again.record.groups[0] == Group(0, 2, 2, 1) and isinstance(again.record.active, tuple)
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in release.tensors.items())


@pytest.mark.parametrize("field", ["rates", "prices"])
def test_what_decides_no_code_may_change(tiny_weights, tmp_path, field):
    release = load(tiny_weights)
    record, parts = replace(release.record, **{field: tuple(range(101))}), parts_of(release)
    parts["synthesis"] = {name: tensor + 1 for name, tensor in parts["synthesis"].items()}
    parts["analysis"] = {name: tensor + 1 for name, tensor in parts["analysis"].items()}
    save(tmp_path / "other.safetensors", record, parts)
    other = load(tmp_path / "other.safetensors")
    assert other.id == release.id and other.digest != release.digest
    assert other.digest_of("synthesis") != release.digest_of("synthesis")
    assert other.digest_of("prior") == release.digest_of("prior")


def test_what_decides_codes_is_another_release(tiny_weights):
    release = load(tiny_weights)
    record, prior = release.record, release.part("prior")
    others = [
        id_of(replace(record, active=record.active[::-1]), prior),
        id_of(replace(record, groups=(Group(0, 2, 2, 1), Group(2, 4, 1, 1))), prior),
        id_of(replace(record, dimensions=(1, 1, 1, 3)), prior),
        id_of(replace(record, codewords=31), prior),
        id_of(record, prior | {"level": prior["level"] + 1}),
        id_of(record, prior | {"level": prior["level"].astype(np.int64)}),
    ]
    assert release.id not in others and len(set(others)) == len(others)
    assert all(0 <= other < 1024 for other in others)


def test_damage_is_found(tiny_weights, tmp_path):
    data = bytearray(tiny_weights.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    path = tmp_path / "damaged.safetensors"
    for place in (start, len(data) - 1, (start + len(data)) // 2):
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="SHA-256"):
            load(path)
        data[place] ^= 1
    path.write_bytes(data)
    assert load(path).id == load(tiny_weights).id


def test_a_changed_record_is_found(tiny_weights, tmp_path):
    data = tiny_weights.read_bytes()
    changed = data.replace(b"1981.0", b"1980.0", 1)
    assert changed != data
    path = tmp_path / "changed.safetensors"
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match="SHA-256"):
        load(path)


def test_what_is_no_release_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors", metadata={"pqmim": json.dumps({})})
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 100)
    for name in ("foreign.safetensors", "bad.safetensors", "missing.safetensors"):
        with pytest.raises(WeightsError, match=name):
            load(tmp_path / name)


def test_out_of_memory_is_not_called_damage(tiny_weights, monkeypatch):
    def fail(data):
        raise MemoryError

    monkeypatch.setattr("pqmim.release.load_tensors", fail)
    with pytest.raises(MemoryError):
        load(tiny_weights)


def test_packaged_releases_are_found_by_their_id():
    assert {load(path).id: path for path in installed().values()} == installed()
    missing = next(number for number in range(1024) if number not in installed())
    with pytest.raises(UnsupportedFile, match=f"needs weights {missing:03x}"):
        find(missing)
    assert issubclass(WeightsError, PqmimError)


def test_reading_needs_no_torch(tiny_weights):
    code = f"import sys; from pqmim.release import load; load({str(tiny_weights)!r}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)


def test_a_place_below_a_file_cannot_be_written_to(tiny_weights, tmp_path):
    release = load(tiny_weights)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file"):
        save(tmp_path / "file" / "weights.safetensors", release.record, parts_of(release))
    with pytest.raises(OutputError, match="Not a directory"):
        save(tmp_path / "file" / "folder" / "weights.safetensors", release.record, parts_of(release))
    save(tmp_path / "new" / "folder" / "weights.safetensors", release.record, parts_of(release))
    assert load(tmp_path / "new" / "folder" / "weights.safetensors").id == release.id


def test_a_file_that_is_no_release_does_not_hide_the_others(tmp_path, monkeypatch):
    (tmp_path / "cut.safetensors").write_bytes((FOLDER / "default.safetensors").read_bytes()[:1000])
    (tmp_path / "default.safetensors").symlink_to(FOLDER / "default.safetensors")
    monkeypatch.setattr("pqmim.release.FOLDER", tmp_path)
    assert list(installed.__wrapped__()) == [load().id]
