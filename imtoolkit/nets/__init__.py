"""Networks: MONAI's by name, filled in from the data, checked against sizes, loaded in part."""

BUILTINS: dict[str, dict[str, str]] = {
    "net": {
        "composed": "imtoolkit.nets.composed:Composed",
        "conv_pool_linear": "imtoolkit.nets.heads:ConvPoolLinear",
        "deeplab_v3": "imtoolkit.nets.deeplab:DeepLabV3",
        "dense": "imtoolkit.nets.heads:DenseHead",
        "dncnn": "imtoolkit.nets.dncnn:DnCNN",
        "drunet": "imtoolkit.nets.drunet:DRUNet",
        "fnet": "imtoolkit.nets.fnet:FNet",
        "global_pool": "imtoolkit.nets.global_pool:GlobalPoolHead",
        "inception_resnet_v2": "imtoolkit.nets.inception_resnet:InceptionResNetV2",
        "mlp": "imtoolkit.nets.mlp:MLP",
        "multi_head": "imtoolkit.nets.composed:MultiHead",
        "multi_stream": "imtoolkit.nets.multi_stream:MultiStream",
        "norm_pool_linear": "imtoolkit.nets.heads:NormPoolLinear",
        "resnet": "imtoolkit.nets.resnet:ResNet",
        "siamese": "imtoolkit.nets.siamese:Siamese",
        "simple_conv": "imtoolkit.nets.heads:SimpleConv",
        "simple_multidepth_conv": "imtoolkit.nets.heads:SimpleMultidepthConv",
        "suggestive_net": "imtoolkit.nets.suggestive:SuggestiveNet",
        "transformer": "imtoolkit.nets.transformer:PatchTransformer",
        "unet_features": "imtoolkit.nets.unet_features:UNetFeatures",
        "vit": "imtoolkit.nets.vit:VisionTransformer",
        "wrapped": "imtoolkit.nets.wrapped:Wrapped",
    }
}
