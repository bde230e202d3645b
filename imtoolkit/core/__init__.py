"""The words that all rooms share: errors, component registry, batch keys, facts, seeds.

Everything here is standard library only (torch and numpy for type checking), so that the command
line and the config can import it at once.
"""

BUILTINS: dict[str, dict[str, str]] = {
    "schedule": {
        "linear": "imtoolkit.core.schedules:Linear",
        "cosine": "imtoolkit.core.schedules:Cosine",
        "exponential": "imtoolkit.core.schedules:Exponential",
        "steps": "imtoolkit.core.schedules:Steps",
        "constant": "imtoolkit.core.schedules:Constant",
        "sequence": "imtoolkit.core.schedules:Sequence",
    },
}
