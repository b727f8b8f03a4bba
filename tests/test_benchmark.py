"""The packaged benchmark: what it measures, on images of a few tiles."""

import json

import pytest

from napari_segzoo import InputError, benchmark
from napari_segzoo.cli import main


@pytest.mark.parametrize(("name", "shape"), [("nuclei", (64, 96)), ("generalist-3d", (16, 32, 48))])
def test_a_model_is_measured_beside_plain_pytorch(name, shape, monkeypatch):
    monkeypatch.setitem(benchmark.TILES, len(shape), tuple(n // 2 for n in shape))
    found = benchmark.measure(name, shape=shape, device="cpu", rounds=1)
    assert (found.model, found.shape) == (name, shape)
    assert (found.device, found.engine, found.precision) == ("cpu", "torch", "float32")
    assert found.tiles > 1 and all(t < n for t, n in zip(found.tile, shape, strict=True))
    assert found.voxels_per_second > 0 and found.plain_voxels_per_second > 0
    assert 0 <= found.outside < 1
    assert found.peak_memory_bytes >= 0


def test_rounds_end_when_they_take_too_long(monkeypatch):
    taken = []
    monkeypatch.setattr(benchmark, "_time", lambda call, device: taken.append(call) or 1.0)
    monkeypatch.setattr(benchmark, "LONGEST", 2.5)
    found = benchmark.measure("nuclei", shape=(32, 32), device="cpu", rounds=5)
    assert len(taken) == 3
    assert found.voxels_per_second == found.plain_voxels_per_second == 32 * 32
    assert found.outside == 0


def test_memory_is_that_above_the_program():
    with benchmark._watched_memory("cpu") as held:
        big = bytearray(200 << 20)
        big[:: 1 << 12] = b"x" * len(big[:: 1 << 12])
        while len(held) < 3 or held[-1] - held[0] < len(big) // 2:
            pass
    assert 0.9 * len(big) < max(held) - held[0] < 1.5 * len(big)


def test_the_command_prints_a_table_or_json(capsys, monkeypatch):
    measured = benchmark.Measured(
        "nuclei", (8, 8), (4, 8), 2, "cpu", "torch", "float32", 2.5e6, 0.125, 1.25e6, 3 << 20
    )
    asked = []
    monkeypatch.setattr(benchmark, "measure", lambda name, **how: asked.append(how) or measured)
    assert main(["benchmark", "--json", "--device", "cpu", "--rounds", "2"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(record["models"]) == len(benchmark.SHAPES) == len(asked)
    assert record["models"][0]["voxels_per_second"] == 2.5e6
    assert record["models"][0]["tile"] == [4, 8]
    assert asked[0] == {"device": "cpu", "engine": "auto", "precision": "auto", "rounds": 2}
    assert main(["benchmark"]) == 0
    title, row, *_ = capsys.readouterr().out.splitlines()
    assert title.split()[:2] == ["model", "device"]
    assert row.split() == [
        "nuclei", "cpu", "torch", "float32", "4×8", "2.5", "1.25", "12%", "3", "MiB",
    ]  # fmt: skip


def test_wrong_use_is_told(capsys):
    with pytest.raises(InputError, match="rounds"):
        benchmark.measure("nuclei", rounds=0)
    assert main(["benchmark", "--device", "tpu"]) == 2
    assert "device must be" in capsys.readouterr().err
