"""Examples that `imtoolkit explain` shows; the tests load every one of them."""

from __future__ import annotations

from typing import Any, Final

COMPLETE: Final = """\
name: nuclei
seed: 0
data:
  source: {name: folder, params: {root: data/nuclei, image: images/*.tif, target: labels/*.tif}}
  axes: YX
  split: {val: 0.2, test: 0.2}
  patch: {size: [128, 128], per_image: 4}
  preprocess: [{name: normalize_percentiles, params: {lower: 0.5, upper: 99.5}}, binarize_target]
  augment: [flips, rotations_90, {name: RandGaussianNoised, params: {keys: image, prob: 0.2}}]
  loader: {batch_size: 8}
task:
  category: segmentation
  classes: [background, nucleus]
  net: {name: UNet, params: {channels: [16, 32, 64, 128], strides: [2, 2, 2], num_res_units: 2}}
  loss: dice_ce
  optimizer: {name: AdamW, params: {lr: 1e-3}}
  scheduler: one_cycle
trainer: {max_epochs: 20}
"""
"""A config that trains on what ``imtoolkit samples nuclei data/nuclei`` draws."""

_FOLDER: Final = {"name": "folder", "params": {"root": "data/nuclei", "image": "images/*.tif"}}
_UNET: Final = {"name": "UNet", "params": {"channels": [16, 32, 64], "strides": [2, 2]}}
_ADAMW: Final = {"name": "AdamW", "params": {"lr": 1e-3}}
_NOISE: Final = {"name": "RandGaussianNoised", "params": {"keys": "image", "prob": 0.2}}

VALUES: Final[dict[str, Any]] = {
    "name": "nuclei",
    "base": "nuclei_2d.yaml",
    "plugins": ["my_loss.py"],
    "callbacks": [{"name": "LearningRateMonitor", "params": {"logging_interval": "step"}}],
    "loggers": [{"name": "CSVLogger", "params": {"save_dir": "csv"}}],
    "data.source": _FOLDER,
    "data.sources": {
        "hospital_a": _FOLDER,
        "hospital_b": {"source": {"name": "nnunet", "params": {"root": "b"}}, "role": "naive"},
    },
    "data.axes": "ZYX",
    "data.target_axes": "ZYX",
    "data.channels": [0, "DAPI"],
    "data.target_channels": [2],
    "data.scene": 0,
    "data.time": 0,
    "data.z_range": [10, 20],
    "data.reader": {"name": "BioImageReader", "params": {"scene": 0}},
    "data.split.val": 0.2,
    "data.split.test": 0.2,
    "data.split.naive": 1,
    "data.split.group_by": "patient",
    "data.split.stratify_by": "tissue",
    "data.split.folds": 5,
    "data.split.file": "splits.csv",
    "data.split.seed": 1,
    "data.preprocess": [
        {"name": "normalize_percentiles", "params": {"lower": 0.5, "upper": 99.5}},
        {"name": "binarize_target", "params": {}},
    ],
    "data.patch.size": [128, 128],
    "data.patch.per_image": 4,
    "data.patch.foreground": 0.5,
    "data.patch.zoom": [0.5, 2.0],
    "data.patch.zoom_prob": 0.5,
    "data.augment": [{"name": "flips", "params": {}}, _NOISE],
    "data.tabular": ["age", {"column": "sex", "values": ["f", "m"]}],
    "data.cache.root": "/scratch/cache",
    "data.loader.samples_per_epoch": 500,
    "data.loader.balance_by": "tissue",
    "data.loader.workers": 2,
    "data.loader.pin_memory": True,
    "task.category": "segmentation",
    "task.net": _UNET,
    "task.nets": {"net": _UNET},
    "task.loss": "dice_ce",
    "task.losses": {
        "overlap": {"name": "dice"},
        "pixels": {"name": "cross_entropy", "weight": 0.5, "warmup_steps": 100},
    },
    "task.optimizer": _ADAMW,
    "task.optimizers": {"net": _ADAMW},
    "task.optimizers.NAME.groups": [{"weights": ["nets.net.model.0.*"], "lr": 1e-4}],
    "task.optimizers.NAME.layer_decay": 0.75,
    "task.scheduler": "one_cycle",
    "task.schedulers": {"net": {"name": "ReduceLROnPlateau", "monitor": "val/loss"}},
    "task.metrics": ["dice", "iou"],
    "task.start_from": {"run": "latest"},
    "task.start_from.include": ["nets.net.backbone.*"],
    "task.start_from.exclude": ["*.head.*"],
    "task.start_from.rename": {"nets.net.": "nets.net.backbone."},
    "task.freeze": ["nets.net.model.0.*"],
    "task.instances": {"boundary": 1},
    "task.classes": ["background", "nucleus", "debris"],
    "task.class_weights": [0.5, 1.0, 2.0],
    "trainer.max_epochs": 20,
    "trainer.max_time": "00:02:30:00",
    "trainer.min_epochs": 10,
    "trainer.min_steps": 100,
    "trainer.precision": "bf16-mixed",
    "trainer.gradient_clip_val": 1.0,
    "trainer.gradient_clip_algorithm": "norm",
    "trainer.val_check_interval": 0.5,
    "trainer.limit_train_batches": 0.1,
    "trainer.limit_val_batches": 10,
    "trainer.limit_test_batches": 10,
    "trainer.limit_predict_batches": 10,
    "trainer.log_every_n_steps": 10,
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": True,
    "trainer.deterministic": True,
    "trainer.benchmark": True,
    "trainer.profiler": "simple",
    "trainer.threads": 2,
    "trainer.ema": {"decay": 0.999},
    "trainer.early_stopping": {"patience": 20},
    "trainer.early_stopping.monitor": "val/dice",
    "trainer.checkpoint.monitor": ["val/dice", "val/loss"],
    "trainer.checkpoint.every_steps": 500,
    "trainer.checkpoint.every_minutes": 15.0,
    "trainer.schedules": {
        "task.loss.weight": {"name": "linear", "params": {"start": 0.0, "end": 1.0, "epochs": 20}}
    },
    "inference.tile": [256, 256],
    "inference.postprocess": [
        {"name": "threshold", "params": {"of": "nucleus", "value": 0.5}},
        {"name": "remove_small", "params": {"size": 20}},
    ],
    "inference.format": ".ome.tif",
    "inference.uncertainty.method": "dropout",
    "inference.uncertainty.samples": 32,
    "inference.uncertainty.perturb": [{"name": "gaussian_noise", "params": {"prob": 1.0}}, "flips"],
    "inference.uncertainty.seed": 1,
    "tracking.runs": "/scratch/runs",
}
"""Key -> a value to show where the default would say nothing."""
