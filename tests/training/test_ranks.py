"""Two processes with Gloo train every stage to the weights of one with the same global batch."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from pqmim.training import checkpoints, ranks
from pqmim.training.pipeline import train
from pqmim.training.run import Run

pytestmark = pytest.mark.slow

NEEDS = {
    "transforms": (),
    "quantizer": ("transforms.pt", "quantizer.start.pt"),
    "prior": ("transforms.pt", "quantizer.start.pt", "quantizer.pt", "codes.pt"),
}


@pytest.fixture(scope="module")
def short(recipe, tmp_path_factory):
    plan = yaml.safe_load(recipe.read_text())
    plan["precision"] = "float32"  # bfloat16 rounds the gradients of half a batch otherwise than those of the whole
    plan["augment"] = {"flip": True, "scale": 0.5, "colour": 0.1}
    del plan["stages"]["joint"]
    plan["stages"]["transforms"] |= {"steps": 4, "log_every": 2}
    plan["stages"]["quantizer"] |= {"steps": 4, "revive_every": 2, "log_every": 2}
    plan["stages"]["prior"] |= {"steps": 3, "samples": 16, "log_every": 2}
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


@pytest.fixture(scope="module")
def one(short, folder, tmp_path_factory):
    """The run of one process."""
    out, threads = tmp_path_factory.mktemp("one"), torch.get_num_threads()
    torch.set_num_threads(1)  # as each of the two has: sums of other parts round otherwise, and a code may flip
    train(short, folder, Run.start(out))
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="module")
def two(short, folder, one, tmp_path_factory):
    """Runs of two, a folder a stage, which begin each stage where that of one process did."""
    out = tmp_path_factory.mktemp("two")
    for stage, files in NEEDS.items():
        (out / stage).mkdir()
        for name in files:
            shutil.copy(one / name, out / stage / name)
    source = Path(ranks.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    if "lo" in [name for _, name in socket.if_nameindex()]:
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # the machine's own name may lead nowhere
    words = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    script = Path(__file__).with_name("train_stages.py")
    command = [sys.executable, "-m", *words, script, short, folder, out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def states(one, two, stage):
    return (checkpoints.load(folder / f"{stage}.pt")["model"] for folder in (one, two / stage))


@pytest.mark.parametrize("stage", NEEDS)
def test_weights_agree(one, two, stage):
    whole, shared = states(one, two, stage)
    assert whole.keys() == shared.keys()
    entries = [(whole[name] - shared[name]).abs() / whole[name].abs().clamp(min=1) for name in whole]
    difference = torch.cat([entry.flatten().double() for entry in entries])
    assert (difference > 1e-6).double().mean() < 1e-3
    assert difference.max() < 1e-3  # where a gradient cancels to its last bits, AdamW makes an update of them


def test_codebooks_agree(one, two):
    start = checkpoints.load(one / "quantizer.start.pt")["state"]["quantizer.codebook"]
    whole, shared = (state["quantizer.codebook"] for state in states(one, two, "quantizer"))
    assert (whole - start).abs().max() > 0.1  # they moved; codewords are about 1 apart
    assert torch.allclose(whole, shared, rtol=0, atol=1e-5)


def test_figures_are_those_of_the_whole_batch_and_logged_once(one, two):
    for stage in NEEDS:
        whole, shared = (
            [json.loads(line) for line in (folder / f"{stage}.jsonl").read_text().splitlines()]
            for folder in (one, two / stage)
        )
        assert len(whole) == len(shared) > 1
        for a, b in zip(whole, shared):
            restarted = {"loss", "bpp"} if stage == "transforms" else set()  # averages from the second step on
            for key in a.keys() - {"stage", "seconds"} - restarted:
                assert b[key] == pytest.approx(a[key], rel=1e-3), (stage, key)
    assert (two / "prior" / "tiny.safetensors").exists()


def test_split_checkpoints_are_small(two):
    files = list((two / "transforms").glob("transforms.pt*"))
    assert len(files) > 1 and all(file.stat().st_size <= 100_000 for file in files)


def test_a_batch_is_shared_evenly_or_not_at_all(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 4)
    monkeypatch.setattr(ranks, "rank", lambda: 3)
    assert ranks.slice_of(12) == slice(9, 12)
    with pytest.raises(ranks.UnsuitedRanks, match="18 cannot be shared evenly by 4"):
        ranks.slice_of(18)


def test_noise_depends_on_the_place_in_the_global_batch(monkeypatch):
    x = torch.zeros(6, 3, 4, 5).to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    whole = ranks.uniform_like(x)
    monkeypatch.setattr(ranks, "world", lambda: 3)
    for number in range(3):
        monkeypatch.setattr(ranks, "rank", lambda number=number: number)
        torch.manual_seed(1)
        assert torch.equal(ranks.uniform_like(x[:2]), whole[2 * number : 2 * number + 2])
    monkeypatch.setattr(ranks, "world", lambda: 1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand_like(x), whole)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ranks.UnsuitedRanks, match="at most 2"):
        ranks.join("cuda")
