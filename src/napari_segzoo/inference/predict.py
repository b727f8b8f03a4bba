"""predict: run a model over an image in tiles."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..axes import find_layout
from ..errors import InputError
from .crop import Ranges, crop_leading, parse_region, restrict
from .events import Event
from .given import DROPPED_ALPHA, as_array, without_alpha
from .options import DEFAULTS, PredictOptions
from .order import kept_voxels
from .plan import make_plan
from .planes import join_plans, turn
from .prediction import BLANK, Prediction
from .reading import check_mask
from .result import make_result, probabilities_of, result_shape
from .stretch import find_stretch

if TYPE_CHECKING:
    from ..model import SegmentationModel

Progress = Callable[[Event], object]


def prepare(
    model: SegmentationModel,
    image: Any,
    *,
    axes: str | None = None,
    options: PredictOptions = DEFAULTS,
    result: Any = None,
    mask: Any = None,
    first: Ranges | None = None,
) -> Prediction:
    """Plan a run without starting it.

    Parameters
    ----------
    model : SegmentationModel
        What to run.
    image : array-like
        Anything with `shape`, `dtype` and slicing, or an `Image`, whose axes are then known.
    axes : str, optional
        Axes of `image`, one letter of T, C, Z, Y, X each; see `find_layout`.
    options : PredictOptions
        How to run.
    result : array-like, optional
        Where to write; a NumPy array is made if none is given.
    mask : array-like, optional
        What to segment; see `predict`.
    first : dict, optional
        Start and stop, per axis letter, of the part of a whole image to compute before the rest,
        with the same result; see `order_tiles`.

    Raises
    ------
    InputError
        If image, axes and model do not fit, an option is impossible, or memory cannot hold the
        result.
    """
    axes = axes or getattr(image, "axes", None)
    scale = getattr(image, "scale", ())
    name = getattr(image, "source", "") or "The image"
    given = as_array(image)
    channels = model.info.in_channels
    image = without_alpha(given, axes, channels)
    notes = () if image is given else (DROPPED_ALPHA,)
    layout = find_layout(image.shape, axes, ndim=model.info.ndim, in_channels=channels, name=name)
    check_mask(mask, layout)
    passes: tuple[Prediction, ...] = ()
    stretch = 1
    if options.planes == "zyx":
        stretch = find_stretch(layout.axes, scale)
        passes = tuple(
            prepare(model, view, axes=layout.axes, options=how, result=(), mask=inside)
            for view, how, inside in turn(image, layout, options, mask, stretch)
        )
    plan = join_plans(passes, options.output) if passes else make_plan(model, layout, options)
    intensity = None
    origin: tuple[int, ...] = ()
    if options.region is not None:
        if options.crf:
            raise InputError("The CRF refines whole images; leave out crf or region.")
        ranges = parse_region(options.region, layout)
        intensity = model.info.normalization.measure(image, layout.channel_axis, allow_blank=True)
        notes = (*notes, BLANK) if intensity.is_blank else notes
        image = crop_leading(image, layout.axes, ranges, layout.leading_axes)
        if mask is not None and tuple(mask.shape) == layout.label_shape:
            mask = crop_leading(mask, layout.label_axes, ranges, layout.leading_axes)
        plan = restrict(plan, ranges)
        origin = tuple(start for start, _ in plan.tiling.wanted)
    elif first and not passes:
        kept = 4 * model.info.num_outputs * kept_voxels(plan, first)
        plan = replace(plan, memory=plan.memory + kept)
    result_axes, shape, dtype = result_shape(model, plan)
    blank = result is None
    if result is None:
        result = make_result(shape, dtype)
        if options.crf:
            kept = 4 * prod(result_shape(model, probabilities_of(plan))[1])
            plan = replace(plan, memory=plan.memory + kept)
        if options.output == "instances":
            plan = replace(plan, memory=plan.memory + prod(shape))
    return Prediction(
        model,
        image,
        options,
        plan,
        result_axes,
        result,
        mask=mask,
        intensity=intensity,
        origin=origin,
        passes=passes,
        stretch=stretch,
        first=first or {},
        blank=blank,
        notes=notes,
    )


def predict(
    model: SegmentationModel | str | os.PathLike[str],
    image: Any,
    *,
    axes: str | None = None,
    output: str = "labels",
    tile: int | Sequence[int] | str = "auto",
    overlap: float | None = None,
    blend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    tta: bool = False,
    crf: bool = False,
    skip_below: float | None = None,
    mask: Any = None,
    region: str | None = None,
    planes: str = "z",
    scheduler: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Segment an image of any size.

    Parameters
    ----------
    model : SegmentationModel, or str or path
        A model, a bundled name, or a model file.
    image : array-like, Image, or str or path
        Anything with `shape`, `dtype` and slicing, read tile by tile; or a file.
    axes : str, optional
        Axes of the image, one letter of T, C, Z, Y, X per dimension. Needed where the image
        does not tell and more than one reading is possible.
    output : {"labels", "instances", "probabilities"}
        Class of each voxel; a number for each object; or float32 probabilities in [0, 1]
        with an axis C before the spatial ones: of the classes, or, by models for single objects
        such as "nuclei", of background, interior and border.
    tile : "auto", int or sequence of int
        Voxels along each spatial axis, rounded up to what the network needs.
    overlap : float, optional
        Share of the tile, in [0, 1), that neighbours have in common; 0.25 by default. The
        exact blend sets its own.
    blend : {"auto", "gaussian", "exact"}
        Weighted average of overlapping tiles, or tiles so far overlapped that the result
        equals one pass over the whole image (to rounding). "auto" is exact for instances, which
        then do not depend on the tiles, where no voxel is computed more than six times on average
        for that; and gaussian for all else.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of the forward pass. "auto" is 16 bits on CUDA, and float32 elsewhere, except that long
        runs on CPUs with bfloat16 take it if it gives a sample of the image the same
        labels: all but 0.1% of the voxels, and all but 1% as many as there is foreground. It is
        float32 for probabilities, the exact blend and the CRF.
    engine : {"auto", "torch", "openvino"}
        What executes the network. "auto" is OpenVINO, where it is installed, for long runs on
        the CPU, and PyTorch otherwise.
    tta : bool
        Average over mirrored tiles: 4 times the work in 2D, 8 times in 3D.
    crf : bool
        Draw the borders between classes to the edges in the image, by a fully connected CRF
        (`postprocess.crf`). The probabilities of the whole image are kept meanwhile: in memory,
        or beside `out`.
    skip_below : float, optional
        Intensity of the image that a tile must reach somewhere to be computed; the others are
        background.
    mask : array-like, optional
        Shape of the label image, or of one plane or volume of it: all that is 0 becomes
        background, and tiles that lie outside are not computed.
    region : str, optional
        Segment a part only, such as ``"y=0:512,x=100:900"`` or ``"z=10:20"``, and return an
        array of its size. Classes and probabilities are those of the whole run, as the
        surroundings and the intensities of the whole image are taken into account.
    planes : {"z", "zyx"}
        How a 2D model sees a volume: in slices along Z; or in slices along each of Z, Y and X,
        whose probabilities are averaged. Where voxels are longer along Z, by the scale of an
        `Image` or a file, those along Y and X see interpolated slices in between and count less.
        At least three times the work; the probabilities of the whole image are kept on disk
        meanwhile, beside `out` or in the folder for temporary files, and instances are objects
        in 3D. Not with `crf` or `scheduler`.
    scheduler : str, optional
        Spread the run over the workers of a Dask cluster: "local:N" starts N processes on this
        machine, each with a GPU of its own where there are several; or the address of a running
        scheduler, such as "tcp://host:8786", whose workers see the same folders. Needs `out`;
        the file is that of a run without it: bit by bit on CPUs, and up to rounding on GPUs,
        where other tiles share a batch.
    out : str or path, optional
        File to write (.tif, .zarr, .nii.gz, .png, .npy); it appears when it is whole.
    overwrite, resume : bool
        Replace an existing `out`; go on with an interrupted run to the same `out`, which is
        left as it is where it is whole already.
    progress : callable, optional
        Called with each `TileDone`, `BlockSeparated`, `Progress` (of writing) and `Note`; an
        exception it raises stops the run.

    Returns
    -------
    ndarray, or the array opened from `out`
        Labels (axes of the image without C), instances (uint32) or probabilities.

    Raises
    ------
    InputError
        If image, axes, model or options do not fit together.
    RunError
        If memory or disk give out.
    """
    from ..io import open_image
    from ..model import SegmentationModel, load_model
    from .files import made_by, prepare_file
    from .store import is_complete

    options = PredictOptions(
        output=output,
        tile=tile,
        overlap=overlap,
        blend=blend,
        device=device,
        precision=precision,
        engine=engine,
        tta=tta,
        crf=crf,
        skip_below=skip_below,
        region=region,
        planes=planes,
    )
    if not isinstance(model, SegmentationModel):
        model = load_model(model)
    if isinstance(image, (str, os.PathLike)):
        image = open_image(image, axes=axes)
    if out is None:
        if scheduler is not None or resume:
            what = "with a scheduler" if scheduler is not None else "that can be resumed"
            raise InputError(f"A run {what} writes a file; name it with out.")
        run = prepare(model, image, axes=axes, options=options, mask=mask)
        for event in run.run():
            if progress is not None:
                progress(event)
        return run.result
    if resume and is_complete(Path(out), made_by(model, options)):
        return open_image(out).data
    file_run = prepare_file(
        model,
        image,
        out,
        axes=axes,
        options=options,
        overwrite=overwrite,
        resume=resume,
        mask=mask,
        scheduler=scheduler,
    )
    for event in file_run.run():
        if progress is not None:
            progress(event)
    return open_image(file_run.path).data
