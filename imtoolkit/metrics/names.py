"""Names of metrics as they are logged."""

from __future__ import annotations


def snake(name: str) -> str:
    """Return the name of a class in lower case with underscores, without ``Metric``.

    Example:
        >>> snake("MulticlassF1Score"), snake("DiceMetric")
        ('multiclass_f1_score', 'dice')
    """
    stem = name.removesuffix("Metric")
    return "".join(
        f"_{letter.lower()}"
        if letter.isupper() and index and not stem[index - 1].isupper()
        else letter.lower()
        for index, letter in enumerate(stem)
    )
