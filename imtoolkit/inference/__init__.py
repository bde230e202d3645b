"""From net to whole image: tiles, blending, mirrored copies, post-processing."""

BUILTINS: dict[str, dict[str, str]] = {
    "postprocess": {
        "threshold": "imtoolkit.inference.postprocess.thresholds:Threshold",
        "class_map": "imtoolkit.inference.postprocess.thresholds:ClassMap",
        "remove_small": "imtoolkit.inference.postprocess.sizes:RemoveSmall",
        "remove_large": "imtoolkit.inference.postprocess.sizes:RemoveLarge",
        "fill_holes": "imtoolkit.inference.postprocess.sizes:FillHoles",
        "clear_border": "imtoolkit.inference.postprocess.sizes:ClearBorder",
        "thin": "imtoolkit.inference.postprocess.shapes:Thin",
        "distance": "imtoolkit.inference.postprocess.shapes:Distance",
        "smooth": "imtoolkit.inference.postprocess.shapes:Smooth",
        "expand": "imtoolkit.inference.postprocess.shapes:Expand",
        "seeds": "imtoolkit.inference.postprocess.seeding:Seeds",
        "watershed": "imtoolkit.inference.postprocess.flooding:Watershed",
        "connected_components": "imtoolkit.inference.postprocess.parts:ConnectedComponents",
        "weighted_sum": "imtoolkit.inference.postprocess.combining:WeightedSum",
        "set_operation": "imtoolkit.inference.postprocess.combining:SetOperation",
        "merge_instances": "imtoolkit.inference.postprocess.combining:MergeInstances",
        "merge_classes": "imtoolkit.inference.postprocess.combining:MergeClasses",
        "cluster_embeddings": "imtoolkit.inference.postprocess.embedseg:ClusterEmbeddings",
    }
}
