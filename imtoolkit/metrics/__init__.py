"""How good a prediction is, image by image, and how sure we are of the mean."""

BUILTINS = {
    "metric": {
        "dice": "imtoolkit.metrics.segmentation:DiceMetric",
        "iou": "imtoolkit.metrics.segmentation:IoUMetric",
        "hd95": "imtoolkit.metrics.segmentation:HausdorffMetric",
        "surface_dice": "imtoolkit.metrics.segmentation:SurfaceDiceMetric",
    }
}
