"""Limits and choices of config values, as tables by key."""

from __future__ import annotations

from typing import Any, Final

MOST_SAMPLES: Final = 10_000
"""Predictions of an image: more would take days, and tell nothing new."""

RANGES: Final[dict[str, tuple[float | None, float | None]]] = {
    "seed": (0, 2**32 - 1),
    "data.split.fold": (0, None),
    "data.split.folds": (2, None),
    "data.split.val": (0, None),
    "data.split.test": (0, None),
    "data.split.naive": (0, None),
    "data.time": (0, None),
    "data.patch.per_image": (1, None),
    "data.patch.foreground": (0, 1),
    "data.patch.zoom_prob": (0, 1),
    "data.loader.batch_size": (1, None),
    "data.loader.samples_per_epoch": (1, None),
    "data.loader.workers": (0, None),
    "data.loader.prefetch": (1, None),
    "task.surface_tolerance": (0, None),
    "task.label_smoothing": (0, 1),
    "task.radius": (1, None),
    "task.n_sigma": (1, 3),
    "task.adversarial_weight": (0, None),
    "task.adversarial_warmup_steps": (0, None),
    "task.feature_matching_weight": (0, None),
    "task.r1_weight": (0, None),
    "task.reconstruction_weight": (0, None),
    "task.discriminator_steps": (1, None),
    "task.cycle_weight": (0, None),
    "task.identity_weight": (0, None),
    "task.pool_size": (0, None),
    "task.init_gain": (0, None),
    "task.beta": (0, None),
    "task.samples": (2, None),
    "trainer.max_epochs": (-1, None),
    "trainer.max_steps": (-1, None),
    "trainer.num_nodes": (1, None),
    "trainer.accumulate_grad_batches": (1, None),
    "trainer.gradient_clip_val": (0, None),
    "trainer.check_val_every_n_epoch": (1, None),
    "trainer.log_every_n_steps": (0, None),
    "trainer.threads": (1, None),
    "trainer.ema.decay": (0, 1),
    "trainer.early_stopping.patience": (1, None),
    "trainer.early_stopping.min_delta": (0, None),
    "trainer.checkpoint.every_epochs": (1, None),
    "trainer.checkpoint.every_steps": (1, None),
    "trainer.checkpoint.every_minutes": (0, None),
    "trainer.pictures.every_epochs": (0, None),
    "trainer.pictures.count": (1, None),
    "inference.batch_size": (1, None),
    "inference.uncertainty.samples": (2, MOST_SAMPLES),
    "inference.uncertainty.seed": (0, 2**32 - 1),
    "evaluation.resamples": (1, None),
}
"""Key -> smallest and largest value, both allowed."""

CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.gradient_clip_algorithm": ("norm", "value"),
    "trainer.profiler": ("simple", "advanced", "pytorch"),
    "trainer.precision": (
        *("32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true"),
        *("transformer-engine", "transformer-engine-float16"),
        *("32", "16", "bf16", "64", 32, 16, 64),
    ),
    "task.replace": ("uniform", "median"),
    "task.centre": ("centroid", "medoid", "approximate_medoid"),
    "task.adversarial": ("mse", "bce", "hinge"),
    "task.direction": ("a_to_b", "b_to_a"),
    "task.init": ("normal", "xavier", "kaiming", "orthogonal"),
    "task.reduction": ("mean", "sum"),
    "inference.uncertainty.method": (
        *("auto", "posterior", "dropout", "perturb", "flips", "ensemble"),
    ),
    "trainer.deterministic": (True, False, "warn"),
    "inference.format": (".ome.tif", ".ome.tiff", ".tif", ".nii.gz", ".nii", ".npy", ".png"),
    "evaluation.splits": ("val", "test", "naive"),
}
"""Key -> the values it may have; for a list, those of each entry."""

ACTIVATIONS: Final = ("softmax", "sigmoid", "tanh", "relu", "exp")
"""What a term of the loss may apply to a prediction; `imtoolkit.losses.term` has the functions."""

AXES: Final = "TCZYXS"
"""Letters of axes: time, channel, depth, height, width, samples (colours)."""

STRATEGIES: Final = (
    *("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook", "fsdp", "deepspeed"),
    *("single_device", "model_parallel", "xla", "single_xla", "xla_fsdp"),
)
"""Lightning's strategies; variants such as ``ddp_find_unused_parameters_true`` begin like them."""

_OF_CLASSES: Final = (
    *("accuracy", "balanced_accuracy", "auroc", "auprc", "f1", "mcc"),
    *("sensitivity", "specificity", "brier", "ece"),
)
_OF_NUMBERS: Final = ("mae", "rmse", "pearson", "r2")
_OF_IMAGES: Final = ("psnr", "ssim", "mae", "pearson")
_OF_INSTANCES: Final = ("ap", "instance_f1", "panoptic_quality", "matched_iou", "object_count")
_OF_SAMPLES: Final = ("ged", "sample_diversity")

OBJECTS: Final = "objects"
"""Stands for the category of a task that learns objects by ``task.instances``."""

METRICS: Final = {
    OBJECTS: (*_OF_INSTANCES, "foreground_dice"),
    "segmentation": ("dice", "iou", "hd95", "surface_dice"),
    "classification": _OF_CLASSES,
    "regression": _OF_NUMBERS,
    "enhancement": (*_OF_IMAGES, "rmse", "ms_ssim", "affine_psnr", "affine_ssim"),
    "noise2void": (*_OF_IMAGES, "rmse", "ms_ssim", "affine_psnr", "affine_ssim"),
    "pix2pix": (*_OF_IMAGES, "rmse", "ms_ssim", "affine_psnr", "affine_ssim"),
    "cyclegan": (*_OF_IMAGES, "rmse", "ms_ssim", "affine_psnr", "affine_ssim"),
    "embedseg": _OF_INSTANCES,
    "probabilistic_unet": ("dice", "iou", "hd95", "surface_dice", *_OF_SAMPLES),
}
"""Category (or kind of a head) -> names of its own metrics, whether computed unasked or not."""

VALIDATED: Final = {
    OBJECTS: (*_OF_INSTANCES, "foreground_dice"),
    "segmentation": ("dice", "iou"),
    "classification": _OF_CLASSES,
    "regression": _OF_NUMBERS,
    "enhancement": _OF_IMAGES,
    "noise2void": _OF_IMAGES,
    "pix2pix": _OF_IMAGES,
    "cyclegan": _OF_IMAGES,
    "embedseg": _OF_INSTANCES,
    "probabilistic_unet": ("dice", "iou", *_OF_SAMPLES),
}
"""Category -> those of them that validation computes unasked; the others are for the test."""

SCHEDULED: Final[dict[str, tuple[str, ...]]] = {"probabilistic_unet": ("beta",)}
"""Category -> its own numbers that `trainer.schedules` may change: ``task.beta``."""

INSTANCE_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "ap": tuple(str(percent) for percent in range(50, 100, 5)),
    "instance_f1": (),
    "panoptic_quality": ("sq", "rq"),
    "matched_iou": ("true", "predicted"),
    "object_count": (),
}
"""Metric of objects -> its parts, such as ``ap/50``; each is logged as ``pooled_ap/50`` as well."""

_ADVERSARIES: Final = ("generator", "discriminator")

OPTIMIZERS: Final[dict[str, tuple[str, ...]]] = {
    "pix2pix": _ADVERSARIES,
    "cyclegan": _ADVERSARIES,
}
"""Category -> the roles of its optimizers, where these are not those of its nets."""

NETS: Final[dict[str, tuple[str, ...]]] = {
    "pix2pix": _ADVERSARIES,
    "cyclegan": (
        *(*_ADVERSARIES, "generator_ab", "generator_ba"),
        *("discriminator_a", "discriminator_b"),
    ),
}
"""Category -> the roles of its nets, where there are several; ``net:`` alone is the generator.

Of a cyclegan ``generator`` serves both directions, ``discriminator`` both domains.
"""

TERMS: Final[dict[str, tuple[str, ...]]] = {
    "pix2pix": ("adversarial", "feature_matching", "discriminator", "r1"),
    "cyclegan": (
        *("a_to_b_adversarial", "b_to_a_adversarial", "cycle_a", "cycle_b"),
        *("identity_a", "identity_b", "a_discriminator", "b_discriminator", "a_r1", "b_r1"),
    ),
}
"""Category -> terms that training logs beside those of ``losses:``, as ``train/loss/NAME``."""

DOMAIN_WORDS: Final = ("cycle", "identity")
"""Stand before metrics of images that came back to their domain, and of those left in it."""

SET_DISTANCES: Final = ("frechet_distance", "kernel_distance")
"""Metrics of a cyclegan between the real and the translated images of a domain."""
