"""From net to whole image: tiles, blending, mirrored copies, post-processing."""

BUILTINS: dict[str, dict[str, str]] = {
    "postprocess": {
        "cluster_embeddings": "imtoolkit.inference.postprocess.embedseg:ClusterEmbeddings",
    }
}
