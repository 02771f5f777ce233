"""The golden step of a merged style, computed by PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.details import Details
from exporter.golden import GOLDEN_LEVEL, golden_inputs, reference_step, write_golden
from exporter.merge import Merge
from exporter.parity import Parity
from exporter.pipeline import fill, fill_biases, load_unet
from exporter.progress import Step
from exporter.shards import Place
from exporter.staging import Stage
from exporter.variants import measure
from runtime.bundle import Bundle
from runtime.manifest import Golden, UNetGraph


def merged_golden(
    bundle: Bundle,
    base: Path,
    merge: Merge,
    places: Mapping[str, Place],
    written: Sequence[UNetGraph],
    details: Details,
    stage: Stage,
    step: Step,
) -> tuple[Golden, list[Parity]]:
    """Stages it, and holds every graph of the style against PyTorch at every noise level.

    Args:
        bundle: the staged base.
        base: the folder of the original model.
        merge: what was merged.
        places: where the changed weights lie.
        written: the style's graphs.
        details: of the style.
        stage: where the files go.
        step: shows the progress.
    """
    with step("PyTorch reference", 1):
        unet = load_unet(base, bundle.manifest.storage.dtype)
        fill(unet, merge.changed(stage.folder, places))
        fill_biases(unet, merge.biases)
        levels = golden_inputs(unet.config, bundle.manifest.model.num_train_timesteps)
        references = {level: reference_step(unet, feeds) for level, feeds in levels.items()}
    name = details.name
    golden = write_golden(stage, name, levels[GOLDEN_LEVEL], references[GOLDEN_LEVEL])
    with step("parity", len(written)) as advance:
        return golden, measure(stage, name, written, levels, references, advance)
