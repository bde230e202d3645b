"""How good predictions are, image by image and over a whole set, and how sure we are of it."""

BUILTINS = {
    "metric": {
        "dice": "imtoolkit.metrics.segmentation:DiceMetric",
        "iou": "imtoolkit.metrics.segmentation:IoUMetric",
        "hd95": "imtoolkit.metrics.segmentation:HausdorffMetric",
        "surface_dice": "imtoolkit.metrics.segmentation:SurfaceDiceMetric",
        "ap": "imtoolkit.metrics.instances:ApMetric",
        "instance_f1": "imtoolkit.metrics.instances:InstanceF1Metric",
        "panoptic_quality": "imtoolkit.metrics.instances:PanopticQualityMetric",
        "matched_iou": "imtoolkit.metrics.instances:MatchedIoUMetric",
        "object_count": "imtoolkit.metrics.instances:ObjectCountMetric",
        "accuracy": "imtoolkit.metrics.classification:AccuracyMetric",
        "balanced_accuracy": "imtoolkit.metrics.classification:BalancedAccuracyMetric",
        "f1": "imtoolkit.metrics.classification:F1Metric",
        "mcc": "imtoolkit.metrics.classification:MccMetric",
        "sensitivity": "imtoolkit.metrics.classification:SensitivityMetric",
        "specificity": "imtoolkit.metrics.classification:SpecificityMetric",
        "auroc": "imtoolkit.metrics.ranking:AurocMetric",
        "auprc": "imtoolkit.metrics.ranking:AuprcMetric",
        "brier": "imtoolkit.metrics.ranking:BrierMetric",
        "ece": "imtoolkit.metrics.ranking:EceMetric",
        "r2": "imtoolkit.metrics.regression:R2Score",
        "mae": "imtoolkit.metrics.images:MaeMetric",
        "rmse": "imtoolkit.metrics.images:RmseMetric",
        "pearson": "imtoolkit.metrics.images:PearsonMetric",
        "psnr": "imtoolkit.metrics.images:PsnrMetric",
        "affine_psnr": "imtoolkit.metrics.images:AffinePsnrMetric",
        "ssim": "imtoolkit.metrics.structure:SsimMetric",
        "affine_ssim": "imtoolkit.metrics.structure:AffineSsimMetric",
        "ms_ssim": "imtoolkit.metrics.structure:MsSsimMetric",
    }
}
