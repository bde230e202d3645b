"""The JSON Schema of a config, made from the same dataclasses and documentation."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum, EnumMeta
from typing import Any, Final, Union, get_args, get_origin

from .explain import ENTRY, KINDS_OF_KEYS
from .field_docs import class_doc, field_doc
from .index import open_index
from .limits import CHOICES, RANGES
from .sections import CATEGORIES, Component, Config, SourceConfig, TabularConfig, TaskConfig
from .shorthand import SINGULAR

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a config file, short forms included."""
    maker = _Maker()
    root = maker.section(Config, "")
    # a file with a base may leave out everything
    del root["required"]
    root["anyOf"] = [{"required": ["base"]}, {"required": ["data", "task"]}]
    return {"$schema": DIALECT, "title": "imtoolkit config", **root, "$defs": maker.definitions}


class _Maker:
    """Makes schemas of sections and collects those that are used several times."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._index = open_index()

    def section(self, cls: type[Any], prefix: str) -> dict[str, Any]:
        """Return the schema of a section whose keys begin with ``prefix``."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        for item in fields(cls):
            key = prefix + item.name
            properties[item.name] = self.field(cls, item, key)
            if item.default is MISSING and item.default_factory is MISSING:
                required.append(item.name)
        for short, (long, _) in SINGULAR.get(prefix.rstrip("."), {}).items():
            if long in properties:
                kind = KINDS_OF_KEYS[prefix + long]
                entry = properties[long]["additionalProperties"]
                properties[short] = {
                    "description": f"The {kind}: single entry of '{long}'.",
                    **entry,
                }
                required = [name for name in required if name != long]
        made = {
            "description": class_doc(cls),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        return {**made, "required": required}

    def field(self, cls: type[Any], item: Any, key: str) -> dict[str, Any]:
        """Return the schema of one field, with its documentation and default."""
        made = self.annotation(item.type, key)
        text = field_doc(cls, item.name)
        if text:
            made = {"description": text, **made}
        if item.default is not MISSING:
            value = item.default
            made["default"] = value.value if isinstance(value, Enum) else value
        low, high = RANGES.get(key, (None, None))
        limits = {"minimum": low, "maximum": high}
        if key in RANGES:
            made.update({name: limit for name, limit in limits.items() if limit is not None})
        return made

    def annotation(self, annotation: Any, key: str) -> dict[str, Any]:
        """Return the schema of a type."""
        origin, args = get_origin(annotation), get_args(annotation)
        if key == "task.category":
            return {"enum": list(CATEGORIES)}
        if key in CHOICES and not any(get_origin(arg) is list for arg in (annotation, *args)):
            choices = list(CHOICES[key])
            return {"enum": [*choices, None] if type(None) in args else choices}
        if annotation is Any:
            return {}
        if origin is Union:
            options = [self.annotation(arg, key) for arg in args]
            return {"anyOf": options} if len(options) > 1 else options[0]
        if origin is list:
            if key in CHOICES:
                return {"type": "array", "items": {"enum": list(CHOICES[key])}}
            return {"type": "array", "items": self.annotation(args[0], key)}
        if origin is dict:
            inner = args[1] if isinstance(args[1], type) else object
            named = is_dataclass(inner) and not issubclass(inner, (Component, SourceConfig))
            below = f"{key}.{ENTRY}" if named else key
            return {"type": "object", "additionalProperties": self.annotation(args[1], below)}
        if annotation is type(None):
            return {"type": "null"}
        if isinstance(annotation, EnumMeta):
            return {"enum": list(annotation.__members__)}
        if is_dataclass(annotation) and isinstance(annotation, type):
            return self.dataclass(annotation, key)
        return {"type": _SCALARS[annotation]}

    def dataclass(self, cls: type[Any], key: str) -> dict[str, Any]:
        """Return the schema of a section, a component or a source with a role."""
        if cls is TaskConfig:
            return self.task()
        if issubclass(cls, Component):
            return self.component(cls, KINDS_OF_KEYS[key])
        if cls is SourceConfig:
            return self.source()
        if cls is TabularConfig:  # a bare name is a column without options
            return {"anyOf": [{"type": "string"}, self.section(cls, f"{key}.")]}
        return self.section(cls, f"{key}.")

    def task(self) -> dict[str, Any]:
        """Return one schema for each category, chosen by ``category``."""
        made = [self.section(cls, "task.") for cls in CATEGORIES.values()]
        for name, schema in zip(CATEGORIES, made, strict=True):
            schema["properties"]["category"] = {"const": name, "description": "Kind of task."}
        return made[0] if len(made) == 1 else {"oneOf": made}

    def component(self, cls: type[Any], kind: str) -> dict[str, Any]:
        """Return a reference to the schema of a component of this kind."""
        name = f"{kind}_{cls.__name__}"
        if name not in self.definitions:
            known = {"anyOf": [{"enum": self._index.names(kind)}, {"type": "string"}]}
            properties: dict[str, Any] = {}
            for item in fields(cls):
                properties[item.name] = self.field(cls, item, f"{kind}.{item.name}")
            properties["name"] = {"description": f"Name of the {kind}.", **known}
            whole = {
                "type": "object",
                "properties": properties,
                "additionalProperties": False,
                "required": ["name"],
            }
            self.definitions[name] = {"anyOf": [known, whole]}
        return {"$ref": f"#/$defs/{name}"}

    def source(self) -> dict[str, Any]:
        """Return the schema of a source: a component, or one with a role."""
        plain = self.component(Component, "source")
        with_role = self.section(SourceConfig, "data.sources.NAME.")
        with_role["properties"]["source"] = plain
        return {"anyOf": [plain, with_role]}
