"""`ImageDataModule`: from the ``data`` section of a config to batches, for every task.

It lists the samples, divides them, fills the cache (which checks every image on the way), tells the
task the facts, and makes the loaders. It works by itself in a notebook as it does under a trainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import CacheKind, DataConfig
from imtoolkit.core.batch import DRAW, TARGET, TARGET_DRAW, Batch
from imtoolkit.core.errors import DataError, listed
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
from imtoolkit.core.schedules import NumberSchedule
from imtoolkit.core.seeding import mix
from imtoolkit.data.batched.module import BatchedAugment
from imtoolkit.data.batched.place import on_device
from imtoolkit.data.cache.dataset import CachedDataset
from imtoolkit.data.cache.fill import fill, usable_cores
from imtoolkit.data.cache.opening import open_images
from imtoolkit.data.cache.store import Lease
from imtoolkit.data.collate import collate
from imtoolkit.data.degrade import Degrade, read_spec, refuse_targets
from imtoolkit.data.domains import refuse_degrade
from imtoolkit.data.evaluation import WholeImages
from imtoolkit.data.gathering import fit_tabular, gather_facts, warn_of_images
from imtoolkit.data.labelling import Labelling
from imtoolkit.data.loader import ImageLoader
from imtoolkit.data.manifest import build_manifest
from imtoolkit.data.patches import PatchDataset
from imtoolkit.data.planning import plan_domains, plan_epochs
from imtoolkit.data.position import training_position
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.data.samplers import EvalSampler, TrainSampler, first_samples
from imtoolkit.data.scheduled import components_at
from imtoolkit.data.splits import write_splits
from imtoolkit.data.summary import Summary, UnpairedSummary
from imtoolkit.data.table import SPLITS, Manifest
from imtoolkit.data.tabular import TabularEncoder
from imtoolkit.data.target_maps import try_maps
from imtoolkit.data.transforms.base import RandomSampleTransform
from imtoolkit.data.transforms.build import build_augment, build_degrade
from imtoolkit.data.unpaired import UnpairedPatches, UnpairedSampler, changed_apart
from imtoolkit.data.wanted import PIXELS, resolved_column
from imtoolkit.data.world import world

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ImageDataModule(pl.LightningDataModule):
    """Images for training, validation and test.

    Args:
        config: Section ``data`` of a config.
        target: What the task wants of the targets, see `imtoolkit.tasks.target_spec`.
        seed: Seed of splits, order, patches and augmentation.
        plugins: The trusted plugins that components may come from.
        splits_file: A ``splits.csv`` that decides the splits, as when a run goes on.
        cache_root: Folder of the cache; left out, as config, environment and settings say.
        workers: Worker processes of the loaders; left out, ``loader.workers``, or a choice of its
            own.
        schedules: Numbers of ``data.augment`` and ``data.degrade`` that change with the epochs in
            training, by their keys.

    Example::

        config = imt.load_config("nuclei.yaml")
        nuclei = TargetSpec(TargetKind.LABELS, ("background", "nucleus"))
        data = imt.ImageDataModule(config.data, nuclei)
        data.prepare_data()
        batch = next(iter(data.train_dataloader()))
        data.preview()
    """

    def __init__(
        self,
        config: DataConfig,
        target: TargetSpec,
        *,
        seed: int = 0,
        plugins: Sequence[str] = (),
        splits_file: Path | None = None,
        cache_root: Path | None = None,
        workers: int | None = None,
        schedules: Mapping[str, NumberSchedule] | None = None,
    ) -> None:
        super().__init__()
        # a rank without validation images is no reason to stop
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.config, self.target, self.seed = config, target, seed
        self.plugins = tuple(plugins)
        self.splits_file = splits_file
        self.cache_root = cache_root
        self.workers = workers
        self.schedules = dict(schedules or {})
        self.preprocessor = Preprocessor(config, self.plugins)
        self.degrade = Degrade(config.degrade, seed=seed, plugins=self.plugins)
        self._tabular = TabularEncoder(())
        self._manifest: Manifest | None = None
        self._images: dict[str, CachedDataset] = {}
        self._facts: DataFacts | None = None
        self._lease: Lease | None = None
        self._batched: BatchedAugment | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lease": None}  # a lease belongs to its process

    # --- preparation ------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """List, divide, read, check and preprocess all samples; the cache spares what it has.

        All processes may call it: they share the work. It does nothing the second time.

        Raises:
            DataError: With all problems of all samples at once, or if the cache cannot be used.
            ConfigError: If the images cannot be made of clean ones as ``data.degrade`` says.
            ComponentError: If a transform cannot be built.
        """
        if self._facts is not None:
            return
        plugin_modules.load(list(self.plugins))
        self.preprocessor.steps()  # wrong components are found before any image is read
        build_augment(components_at(self.config.augment, self.schedules, 0))
        build_degrade(components_at(self.config.degrade, self.schedules, 0, "data.degrade"))
        self._on_device(gpu=False, workers=0)  # refuses what has no batched form
        refuse_degrade(self.config, self.target)
        spec = read_spec(self.config, self.target)
        manifest = build_manifest(self.config, self.seed, spec, drawn=self.splits_file)
        self._check_table(manifest)
        everything, self._lease = open_images(manifest, self.preprocessor, spec, self.cache_root)
        summary = (UnpairedSummary if spec.unpaired else Summary)(manifest)
        rank, ranks = world(self)
        try:
            fill(everything, summary.add, rank=rank, ranks=ranks)
            summary.check()
        except DataError:
            self._release()
            raise
        try_maps(spec, next(iter(summary.dims)))
        size = self.config.patch.size
        warn_of_images(summary, tuple(size) if size else None)
        self._manifest, self._images = manifest, _by_split(everything)
        steps = self.steps_per_epoch(ranks)
        self._facts = gather_facts(self.config, spec, manifest, summary, self._tabular, steps)

    def _check_table(self, manifest: Manifest) -> None:
        """Find what is wrong with the table before any image is read."""
        if self.config.degrade:
            refuse_targets(manifest)
        if self.config.loader.balance_by is not None:
            manifest.require(resolved_column(self.config.loader.balance_by, self.target))
        self._tabular = fit_tabular(self.config, manifest)

    def setup(self, stage: str | None = None) -> None:
        """Prepare, in processes where `prepare_data` was not called."""
        self.prepare_data()

    def teardown(self, stage: str | None = None) -> None:
        """Keep the loaders' images: the same module trains and evaluates."""

    @property
    def manifest(self) -> Manifest:
        """All samples with their splits."""
        self.prepare_data()
        assert self._manifest is not None
        return self._manifest

    @property
    def facts(self) -> DataFacts:
        """What the data tell the task."""
        self.prepare_data()
        assert self._facts is not None
        return self._facts

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples."""
        self.prepare_data()
        return tuple(self._images)

    def images(self, split: str) -> CachedDataset:
        """Return the preprocessed images of a split.

        Raises:
            DataError: If it has none.
        """
        self.prepare_data()
        if split not in self._images:
            message = f"there are no images for '{split}'; there are some for {listed(self.splits)}"
            raise DataError(message)
        return self._images[split]

    def write_splits(self, path: Path) -> None:
        """Write which sample belongs to which split as CSV."""
        write_splits(self.manifest, path)

    # --- loaders ----------------------------------------------------------------------------------

    def train_dataloader(self) -> ImageLoader:
        """Return batches of random patches, see `TrainSampler` and `PatchDataset`."""
        images = self.images("train")  # prepares, which the sampler relies on
        self._batched = self._batched_augment()
        patches = self._patches(images)
        return self._loader(patches, batch_sampler=self._train_sampler(*world(self)))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Change a training batch at random, where that is done on the device."""
        if self._batched is None or DRAW not in batch:
            return batch
        change = partial(self._batched, epoch=getattr(self.trainer, "current_epoch", 0))
        changed: Batch = changed_apart(batch, change) if TARGET_DRAW in batch else change(batch)
        return changed

    def val_dataloader(self) -> ImageLoader | list[Any]:
        """Return the whole validation images; those of the few batches that a trainer overfits."""
        self.prepare_data()
        if few := getattr(self.trainer, "overfit_batches", 0):
            ranks = world(self)[1]
            samplers = [self._train_sampler(rank, ranks) for rank in range(ranks)]
            return self._whole(self.images("train").part(first_samples(samplers, few)))
        return self.dataloader("val") if "val" in self._images else []

    def test_dataloader(self) -> ImageLoader | list[Any]:
        """Return the whole test images, one at a time."""
        self.prepare_data()
        return self.dataloader("test") if "test" in self._images else []

    def dataloader(self, split: str) -> ImageLoader:
        """Return the whole images of a split, each once over all ranks (see `EvalSampler`).

        Raises:
            DataError: If the split has no images.
        """
        return self._whole(self.images(split))

    def _whole(self, images: CachedDataset) -> ImageLoader:
        rank, ranks = world(self)
        sampler = EvalSampler(len(images), rank=rank, ranks=ranks)
        return self._loader(self._whole_images(images), sampler=sampler, batch_size=1)

    def _whole_images(self, images: CachedDataset) -> WholeImages:
        return WholeImages(images, self._labelling(images), self.degrade)

    def _labelling(self, images: CachedDataset) -> Labelling:
        return Labelling(images.data, self.target, self._tabular)

    def steps_per_epoch(self, ranks: int = 1) -> int:
        """Return the training batches of an epoch on one of so many ranks."""
        return len(self._train_sampler(0, ranks)) if "train" in self._images else 0

    def preview(self, split: str = "train", count: int = 8) -> Figure:
        """Draw samples of a split as the net gets them: patches for ``train``, else whole images.

        Args:
            split: ``train``, ``val``, ``test`` or ``naive``.
            count: How many samples.
        """
        from imtoolkit.data.preview import draw_preview

        return draw_preview(self.samples(split, count), self.target)

    def samples(self, split: str = "train", count: int = 8) -> list[Batch]:
        """Return the first samples of a split as batches of one, made in this process.

        Patches for training come from as many images as there are.
        """
        images = self.images(split)
        if split != "train":
            whole = self._whole_images(images)
            return [collate([whole[index]]) for index in range(min(count, len(whole)))]
        patches = self._patches(images)
        sampler, each = self._train_sampler(0, 1), self.config.patch.per_image
        first = (visit for visit in sampler.visits(0) if visit.patch % each == 0)
        more = (visit for visit in sampler.visits(0) if visit.patch % each)  # where images are few
        batches = [collate([patches[visit]]) for visit in islice(chain(first, more), count)]
        return [self.on_after_batch_transfer(batch, 0) for batch in batches]

    # --- how --------------------------------------------------------------------------------------

    def _release(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _batched_augment(self) -> BatchedAugment | None:
        """Return what changes batches; ``None`` where patches are changed one by one.

        So it is without a trainer: nothing then calls the hook for a batch after its transfer.
        """
        if self.trainer is None:
            return None
        gpu = self.trainer.strategy.root_device.type != "cpu"
        if not self._on_device(gpu=gpu, workers=self._workers()):
            return None
        return BatchedAugment(self.config.augment, self.config.degrade, schedules=self.schedules)

    def _on_device(self, *, gpu: bool, workers: int) -> bool:
        instances = self.target.kind is TargetKind.INSTANCES
        return on_device(self.config, gpu=gpu, workers=workers, instances=instances)

    def _patches(self, images: CachedDataset) -> PatchDataset:
        alone = self._batched is None
        kind = UnpairedPatches if self.target.unpaired else PatchDataset
        return kind(
            images,
            self._labelling(images),
            self.config.patch,
            self.config.augment if alone else (),
            degrade=self.degrade if alone else None,
            blank=self._blank_channels(),
            seed=self.seed,
            plugins=self.plugins,
            schedules=self.schedules if alone else None,
        )

    def _blank_channels(self) -> int:
        """Return the channels of the empty target of samples that lack one; 0 where none do."""
        if self.target.kind not in PIXELS or self.target.unpaired or self.config.degrade:
            return 0
        lacking, count = self.facts.missing.get(TARGET, 0), self.facts.samples["train"]
        return self.facts.target_channels if 0 < lacking < count else 0

    def _train_sampler(self, rank: int, ranks: int) -> TrainSampler:
        given = (self.config, self.target, self._images["train"].data, self.seed)
        sizes = (self.config.loader.batch_size, self.config.patch.per_image)
        sampler: TrainSampler
        if self.target.unpaired:
            sampler = UnpairedSampler(*plan_domains(*given), *sizes, rank=rank, ranks=ranks)
        else:
            sampler = TrainSampler(plan_epochs(*given), *sizes, rank=rank, ranks=ranks)
        if self.trainer is not None:
            sampler.position = lambda: self._position(len(sampler))
        return sampler

    def _position(self, batches: int) -> tuple[int, int]:
        assert self.trainer is not None
        if self._lease is not None:
            self._lease.renew()
        return training_position(self.trainer, batches)

    def _loader(self, dataset: Any, **how: Any) -> ImageLoader:
        workers = self._workers()
        pinned = self.config.loader.pin_memory
        return ImageLoader(
            dataset,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=self.config.loader.prefetch if workers > 0 else None,
            pin_memory=torch.cuda.is_available() if pinned is None else pinned,
            # the loader draws a seed for its workers: not from the generator that the net uses
            generator=torch.Generator().manual_seed(mix(self.seed, 2)),
            **how,
        )

    def _workers(self) -> int:
        for given in (self.workers, self.config.loader.workers):
            if given is not None:
                return given
        views = all(
            isinstance(step, RandomSampleTransform) and step.views
            for step in [
                *(build_augment(self.config.augment) if self._batched is None else ()),
                *build_degrade(self.config.degrade),
            ]
        )
        # cutting and turning a memory map takes less time than sending it from another process
        if views and not self.target.maps and self.config.cache.kind is not CacheKind.none:
            return 0
        return min(4, usable_cores() - 1)


def _by_split(everything: CachedDataset) -> dict[str, CachedDataset]:
    manifest = everything.data
    splits = np.array(manifest.column("split"), dtype=object)
    parts: dict[str, CachedDataset] = {}
    for split in SPLITS:
        places = np.flatnonzero(splits == split)
        if len(places):
            parts[split] = everything.part(places)
    return parts
