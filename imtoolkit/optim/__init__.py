"""Optimizers, parameter groups, and learning-rate schedules that know when training ends."""

BUILTINS: dict[str, dict[str, str]] = {
    "optimizer": {
        "adamw": "imtoolkit.optim.optimizers:DecayedAdamW",
        "sgd": "imtoolkit.optim.optimizers:DecayedSGD",
        "adam": "imtoolkit.optim.optimizers:Adam",
        "nadam": "imtoolkit.optim.optimizers:NAdam",
        "radam": "imtoolkit.optim.optimizers:RAdam",
        "lbfgs": "imtoolkit.optim.optimizers:LBFGS",
        "sam": "imtoolkit.optim.sam:SAM",
        "asam": "imtoolkit.optim.sam:ASAM",
        "sophia": "imtoolkit.optim.sophia:Sophia",
    },
    "scheduler": {
        "one_cycle": "imtoolkit.optim.schedules:OneCycle",
        "cosine": "imtoolkit.optim.schedules:Cosine",
        "warmup_cosine": "imtoolkit.optim.schedules:WarmupCosine",
        "poly": "imtoolkit.optim.schedules:Poly",
        "constant": "imtoolkit.optim.schedules:Constant",
        "step": "imtoolkit.optim.schedules:StepLR",
        "multi_step": "imtoolkit.optim.schedules:MultiStepLR",
        "plateau": "imtoolkit.optim.schedules:ReduceLROnPlateau",
        "sequence": "imtoolkit.optim.schedules:SequentialLR",
    },
}
