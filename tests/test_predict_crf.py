"""predict with the fully connected CRF: in tiles, to files, resumed, on the command line."""

import json

import numpy as np
import pytest
import torch
from tiny import AS_IS, noise, squares, tiny_model

from napari_segzoo import open_image, predict, save_image
from napari_segzoo.cli import main
from napari_segzoo.errors import RunError
from napari_segzoo.inference import Note, PredictOptions, TileDone, prepare, prepare_file, refine
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.postprocess.crf import CRF, DEFAULT


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(refine.BLOCK, 2, 48)
    monkeypatch.setitem(refine.BLOCK, 3, 16)


def unsure_model(ndim=2):
    """Calls bright voxels objects, and is unsure and noisy about it."""
    info = ModelInfo("unet", ndim, 1, default_classes(2), {"widths": (4, 8)}, normalization=AS_IS)

    class Threshold(torch.nn.Module):
        divisor = (4,) * ndim

        def forward(self, x):
            unsure = x - 120 + 110 * torch.sin(x * 4000)
            return torch.cat([-unsure, unsure], 1) / 100

    return SegmentationModel(info, Threshold().eval())


@pytest.mark.parametrize(("ndim", "size"), [(2, 96), (3, 40)])
def test_borders_are_better_with_it(ndim, size):
    image, truth = squares(size, ndim=ndim)
    plain = predict(unsure_model(ndim), image, device="cpu")
    refined = predict(unsure_model(ndim), image, device="cpu", crf=True)
    assert refined.shape == plain.shape and refined.dtype == plain.dtype
    assert (refined == truth).mean() > 0.99 > 0.95 > (plain == truth).mean()


@pytest.mark.parametrize(("ndim", "size"), [(2, 96), (3, 40)])
def test_blocks_fit_together(monkeypatch, ndim, size):
    """Margins far smaller than the image change the class of 1 in 200 voxels at most."""
    monkeypatch.setitem(DEFAULT, ndim, CRF(reach=size / 10))
    image, _ = squares(size, ndim=ndim)
    model = unsure_model(ndim)
    plain, whole = (predict(model, image, device="cpu", crf=c) for c in (False, True))
    monkeypatch.setitem(refine.BLOCK, ndim, size // 2)
    blocks = predict(model, image, device="cpu", crf=True)
    assert (whole != blocks).mean() <= 0.005
    assert (whole != plain).mean() > 0.05


def test_the_tiles_of_the_network_do_not_show(small_blocks):
    image, _ = squares(96)
    model = unsure_model()
    first, second = (predict(model, image, tile=tile, device="cpu", crf=True) for tile in (96, 32))
    assert np.array_equal(first, second)


def test_stacks_colours_and_probabilities(small_blocks):
    model = tiny_model(in_channels=3, classes=3)
    image = noise((2, 60, 52, 3))
    found = predict(model, image, axes="ZYXC", output="probabilities", device="cpu", crf=True)
    assert found.shape == (2, 3, 60, 52)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    labels = predict(model, image, axes="ZYXC", device="cpu", crf=True)
    assert np.array_equal(found.argmax(1), labels)
    plain = predict(model, image, axes="ZYXC", output="probabilities", device="cpu")
    assert np.abs(found - plain).max() > 0.1


def test_objects_are_separated_after_it():
    image, truth = squares(96)
    found = predict(unsure_model(), image, output="instances", device="cpu", crf=True)
    assert found.dtype == np.uint32 and found.max() >= 2
    assert ((found > 0) == truth).mean() > 0.97


def test_events_cover_the_result_twice(small_blocks):
    """First what the network says, then what is refined; the count of tiles stays true."""
    image, _ = squares(96)
    run = prepare(
        unsure_model(), image, options=PredictOptions(tile=48, overlap=0, device="cpu", crf=True)
    )
    events = [e for e in run.run() if isinstance(e, TileDone)]
    seen = np.zeros(image.shape, int)
    for event in events:
        seen[event.region] += 1
    assert (seen == 2).all()
    assert events[-1].done == events[-1].total == 4
    assert "CRF" in run.plan.summary()


def test_files_are_resumed_and_equal(tmp_path, small_blocks):
    image, _ = squares(96)
    model = unsure_model()
    expected = predict(model, image, tile=48, device="cpu", crf=True)
    out = tmp_path / "out.tif"
    options = PredictOptions(tile=48, device="cpu", crf=True)
    for phase in ("network", "CRF"):
        run = prepare_file(model, image, out, options=options, resume=True)
        events, refining = run.run(), False
        for event in events:
            refining = refining or isinstance(event, Note)
            if isinstance(event, TileDone):
                run._save_progress(event.done)
                if refining or (phase == "network" and event.done == 4):
                    break
        events.close()
        assert refining == (phase == "CRF") and not out.exists()
    run = prepare_file(model, image, out, options=options, resume=True)
    assert run.start == run.prediction.plan.tiles
    for _ in run.run():
        pass
    assert np.array_equal(open_image(out).data[...], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


def test_command_line(tmp_path, capsys):
    image, _ = squares(64)
    save_image(tmp_path / "in.tif", image, "YX")
    tiny_model(classes=2).save(tmp_path / "m.safetensors")
    arguments = ["predict", str(tmp_path / "m.safetensors"), str(tmp_path / "in.tif")]
    assert main([*arguments, str(tmp_path / "out.tif"), "--crf", "--device", "cpu", "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out.splitlines()[-1])["shape"] == [64, 64]
    assert "refined by a CRF" in streams.err
    expected = predict(tmp_path / "m.safetensors", image, device="cpu", crf=True)
    assert np.array_equal(open_image(tmp_path / "out.tif").data[...], expected)


def test_the_plan_counts_its_memory():
    """Probabilities of the whole image, and the largest block with its margin."""
    image = np.zeros((1000, 800), np.uint8)
    plain, refined = (
        prepare(unsure_model(), image, options=PredictOptions(device="cpu", crf=c)).plan.memory
        for c in (False, True)
    )
    assert refined >= max(plain, 712 * 712 * 8 * 20) + 4 * 2 * image.size


def test_memory_that_runs_out_costs_no_tile(monkeypatch):
    """Blocks are halved, and the network is not run again."""
    from napari_segzoo.postprocess import crf

    image, _ = squares(96)
    whole = predict(unsure_model(), image, device="cpu", crf=True)
    refine_probabilities, failures = crf.refine_probabilities, [MemoryError] * 2

    def failing(*args):
        if failures:
            raise failures.pop()
        return refine_probabilities(*args)

    monkeypatch.setattr(crf, "refine_probabilities", failing)
    run = prepare(unsure_model(), image, options=PredictOptions(crf=True, tile=48, device="cpu"))
    events = list(run.run())
    tiles = [e.done for e in events if isinstance(e, TileDone) and e.done < e.total]
    assert tiles == sorted(set(tiles))
    assert sum("Memory ran out" in e.message for e in events if isinstance(e, Note)) == 2
    assert (run.result != whole).mean() < 0.01


def test_no_memory_for_the_smallest_block_is_one_sentence(monkeypatch):
    from napari_segzoo.postprocess import crf

    def failing(*args):
        raise MemoryError

    monkeypatch.setattr(crf, "refine_probabilities", failing)
    with pytest.raises(RunError, match="leave out crf"):
        predict(unsure_model(), squares(96)[0], device="cpu", crf=True)
