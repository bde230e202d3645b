"""Networks: MONAI's by name, filled in from the data, checked against sizes, loaded in part."""

BUILTINS: dict[str, dict[str, str]] = {"net": {}}
