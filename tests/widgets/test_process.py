"""What only a process of its own can show: what is imported, and how it ends."""

import subprocess
import sys
import textwrap

PRELUDE = """
import sys, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication

def wait(condition, seconds=150):
    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        assert time.monotonic() < end, "waited too long"
"""


def run_script(code, tmp_path):
    (tmp_path / "script.py").write_text(PRELUDE + textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py"],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        check=False,
    )


def test_no_dock_imports_torch(tmp_path):
    done = run_script(
        """
        viewer = napari.Viewer()
        viewer.add_image(np.zeros((9, 9)))
        viewer.add_labels(np.zeros((9, 9), int))
        for name in ("Model", "Run", "Train", "Metrics"):
            assert "torch" not in sys.modules, name
            _, dock = viewer.window.add_plugin_dock_widget("napari-segzoo", name)
            QApplication.processEvents()
            print(name, "torch" in sys.modules)
        for heavy in ("torch", "torchvision", "pyqtgraph"):
            print(heavy, heavy in sys.modules)
        viewer.close()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    expected = ["Model", "Run", "Train", "Metrics", "torch", "torchvision", "pyqtgraph"]
    assert [line for line in lines if line.endswith(" False")] == [f"{n} False" for n in expected]


CLOSE_MID_RUN = """
        from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes

        info = ModelInfo("unet", 2, 1, default_classes(2), {"widths": (4, 8)})
        SegmentationModel.create(info).save("tiny.safetensors")
        viewer = napari.Viewer()
        image = np.random.default_rng(0).random((1024, 1024), np.float32)
        viewer.add_image(image, name="image")
        drawn = np.zeros(image.shape, np.uint8)
        drawn[:100], drawn[200:300] = 1, 2
        viewer.add_labels(drawn, name="drawn")
        docks = [
            viewer.window.add_plugin_dock_widget("napari-segzoo", name)[1]
            for name in ("Model", "Run", "Train")
        ]
        model, run, train = docks
        model.load("tiny.safetensors")
        run.form.tile.setText("16")
        run.run()
        train.form.amount.setValue(100_000)
        train.train()
        wait(lambda: run.progress.value() > 2 and len(train.plot.losses) > 1)
        workers = [run._job._worker, train._job._worker]
        assert all(worker.is_running for worker in workers)
        viewer.close()
        print("stopped", *(worker._closed.is_set() for worker in workers))
        wait(lambda: not any(worker.is_running for worker in workers))
        print("end")
"""


def test_closing_the_viewer_during_inference_and_training(tmp_path):
    done = run_script(CLOSE_MID_RUN, tmp_path)
    expected = ["stopped", "True", "True", "end"]
    assert (done.returncode, done.stdout.split()) == (0, expected), done.stderr
