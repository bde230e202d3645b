"""Networks: MONAI's by name, filled in from the data, checked against sizes, loaded in part."""

BUILTINS: dict[str, dict[str, str]] = {
    "net": {
        "deeplab_v3": "imtoolkit.nets.deeplab:DeepLabV3",
        "dncnn": "imtoolkit.nets.dncnn:DnCNN",
        "drunet": "imtoolkit.nets.drunet:DRUNet",
        "fnet": "imtoolkit.nets.fnet:FNet",
        "inception_resnet_v2": "imtoolkit.nets.inception_resnet:InceptionResNetV2",
        "suggestive_net": "imtoolkit.nets.suggestive:SuggestiveNet",
    }
}
