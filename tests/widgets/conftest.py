"""A real viewer with the plugin, and what a user does with the mouse."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault(
    "NAPARI_CONFIG", str(Path(tempfile.mkdtemp(prefix="napari-config-")) / "settings.yaml")
)


def pytest_collection_modifyitems(items):
    import pytest

    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.viewer)
