"""Side effects of a run: checkpoints, metrics, pictures, averages, progress, guards."""

BUILTINS = {
    "callback": {
        "early_stopping": "imtoolkit.callbacks.early_stopping:EarlyStopping",
    },
    "logger": {
        "tensorboard": "imtoolkit.callbacks.tensorboard:TensorBoard",
    },
}
