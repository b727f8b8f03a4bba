"""Settings that hold for all tests, made before NumPy, PyTorch or napari is imported."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

SETTINGS = Path(tempfile.mkdtemp(prefix="napari-segzoo-tests-"))
atexit.register(shutil.rmtree, SETTINGS, ignore_errors=True)
os.environ["NAPARI_CONFIG"] = str(SETTINGS / "settings.yaml")
os.environ["XDG_DATA_HOME"] = str(SETTINGS)
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")
# What napari would compile for many seconds, for a handful of shapes.
sys.modules["napari.layers.shapes._accelerated_triangulate_numba"] = None  # type: ignore[assignment]

from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")


def pytest_collection_finish():
    """Spare the garbage collector all that was imported."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()
