"""napari on the result of the demo."""

from __future__ import annotations

import napari

from ..demo import DemoResult


def show_demo(result: DemoResult) -> None:
    """Open napari with image, strokes and segmentations, and wait until it is closed."""
    viewer = napari.Viewer(title="napari-segzoo demo")
    viewer.add_image(result.image, name="coins")
    viewer.add_labels(result.strokes, name="strokes")
    viewer.add_labels(result.reference, name="reference", visible=False)
    viewer.add_labels(result.before, name="before", visible=False)
    viewer.add_labels(result.after, name="fine-tuned", opacity=0.5)
    napari.run()
