"""The signature of a class or function, read from its source.

A ``**kwargs`` that is handed on is replaced by the parameters of what it is handed on to, so that a
misspelt one is found before anything is built. Only where the destination cannot be told does a
signature stay *open*.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from .modules import Definition, FunctionNode, ModuleName, Reader, walk_function

_DEPTH: Final = 8

_PAD: Final = ("value", "constant_values", "end_values", "stat_length", "reflect_type")
HANDED_ON: Final[dict[str, tuple[str, ...]]] = {
    "torch.nn.modules.module.Module": (),
    "monai.transforms.croppad.array.Pad": _PAD,
    "monai.transforms.croppad.array.SpatialPad": _PAD,
    "monai.transforms.croppad.array.BorderPad": _PAD,
    "monai.transforms.croppad.array.DivisiblePad": _PAD,
    "monai.transforms.croppad.array.CropForeground": _PAD,
    "monai.transforms.croppad.array.ResizeWithPadOrCrop": _PAD,
    "monai.transforms.croppad.batch.PadListDataCollate": _PAD,
    "monai.transforms.spatial.array.Zoom": _PAD,
    "monai.transforms.spatial.array.RandZoom": _PAD,
    "monai.transforms.spatial.array.GridPatch": _PAD,
    "monai.transforms.spatial.array.RandGridPatch": _PAD,
    "monai.transforms.post.array.Activations": ("dim",),
    "monai.transforms.post.array.AsDiscrete": ("dim", "keepdim"),
    "monai.transforms.post.dictionary.Activationsd": ("dim",),
    "monai.transforms.post.dictionary.AsDiscreted": ("dim", "keepdim"),
    "monai.transforms.utility.array.ToDevice": ("non_blocking", "dtype", "copy", "memory_format"),
    "monai.data.image_reader.NumpyReader": ("mmap_mode", "fix_imports", "encoding"),
    "monai.data.image_reader.NibabelReader": ("mmap", "keep_file_open"),
}
"""Class that keeps ``**kwargs`` and hands them on later -> the names that are taken then."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component.

    Attributes:
        name: Its name.
        required: Whether it has no default.
        default: Source text of the default, or None.
        annotation: Source text of the annotation, or None.
    """

    name: str
    required: bool = True
    default: str | None = None
    annotation: str | None = None


@dataclass(frozen=True)
class Signature:
    """The parameters that a config can give, in order, and whether there may be others."""

    parameters: tuple[Parameter, ...] = ()
    open: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the parameters."""
        return [parameter.name for parameter in self.parameters]


@dataclass
class _Use:
    """What a function does with its ``**kwargs``."""

    names: list[str] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)
    elsewhere: bool = False


class Signatures:
    """Reads signatures with a `Reader`; orders of inheritance are remembered."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._orders: dict[str, list[Definition]] = {}

    def of(self, found: Definition, depth: int = 0) -> Signature:
        """Return the signature of a class or function."""
        if not isinstance(found.node, ast.ClassDef):
            return self._of_function(found.node, found.module, [], depth, bound=False)
        return self._of_order(self.order(found), depth)

    def order(self, found: Definition) -> list[Definition]:
        """Return a class and its bases in method resolution order, as far as they can be found."""
        if found.path in self._orders:
            return self._orders[found.path]
        self._orders[found.path] = [found]  # stops a circle
        chains: list[list[Definition]] = []
        bases: list[Definition] = []
        for expression in found.node.bases if isinstance(found.node, ast.ClassDef) else ():
            if isinstance(expression, ast.Subscript):  # Generic[T], Sampler[int]
                expression = expression.value
            base = self.reader.expression(found.module, expression)
            if isinstance(base, Definition) and isinstance(base.node, ast.ClassDef):
                bases.append(base)
                chains.append(list(self.order(base)))
        self._orders[found.path] = [found, *_merge_orders([*chains, bases])]
        return self._orders[found.path]

    def _of_order(self, order: list[Definition], depth: int) -> Signature:
        for number, owner in enumerate(order):
            if not isinstance(owner.node, ast.ClassDef):
                continue
            methods = {
                node.name: node
                for node in owner.node.body
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
            for name in ("__new__", "__init__"):
                if name in methods:
                    rest = order[number + 1 :]
                    made = self._of_function(methods[name], owner.module, rest, depth, bound=True)
                    return _with_handed_on(owner.path, made)
            if _is_dataclass(owner.node):
                return self._of_dataclass(order[number:])
        return Signature()

    def _of_dataclass(self, order: list[Definition]) -> Signature:
        parameters: dict[str, Parameter] = {}
        for owner in reversed(order):
            if not isinstance(owner.node, ast.ClassDef) or not _is_dataclass(owner.node):
                continue
            for node in owner.node.body:
                if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                    continue
                annotation = ast.unparse(node.annotation)
                if annotation.startswith(("ClassVar", "typing.ClassVar")):
                    continue
                default = ast.unparse(node.value) if node.value is not None else None
                name = node.target.id
                parameters[name] = Parameter(name, default is None, default, annotation)
        return Signature(tuple(parameters.values()))

    def _of_function(
        self, node: FunctionNode, module: str, rest: list[Definition], depth: int, *, bound: bool
    ) -> Signature:
        own = list(_own_parameters(node, skip_first=bound))
        if node.args.kwarg is None or depth > _DEPTH:
            return Signature(tuple(own), open=node.args.kwarg is not None)
        use = _use_of_kwargs(node, node.args.kwarg.arg)
        taken = {parameter.name for parameter in own}
        merged = dict.fromkeys(use.names)
        extra = {name: Parameter(name, required=False) for name in merged if name not in taken}
        is_open = use.elsewhere
        for call in use.calls:
            target = self._target(call, node, module, rest, depth)
            if target is None:
                is_open = True
                continue
            is_open = is_open or target.open
            for parameter in _not_given(target, call):
                if parameter.name not in taken:
                    required = parameter.required and len(use.calls) == 1
                    extra.setdefault(parameter.name, replace(parameter, required=required))
        return Signature((*own, *extra.values()), open=is_open)

    def _target(
        self, call: ast.Call, node: FunctionNode, module: str, rest: list[Definition], depth: int
    ) -> Signature | None:
        """Return the signature of what a call hands ``**kwargs`` on to."""
        function = call.func
        if _is_super_method(function):
            return self._of_order(rest, depth + 1)
        if isinstance(function, ast.Attribute) and function.attr in ("__init__", "__new__"):
            function = function.value
        found = self.reader.expression(module, function)
        if found is None or isinstance(found, ModuleName):
            return None
        return self.of(found, depth + 1)


def _with_handed_on(path: str, signature: Signature) -> Signature:
    if not signature.open or path not in HANDED_ON:
        return signature
    extra = [name for name in HANDED_ON[path] if name not in signature.names]
    parameters = [Parameter(name, required=False) for name in extra]
    return Signature((*signature.parameters, *parameters))


def _own_parameters(node: FunctionNode, *, skip_first: bool) -> Iterator[Parameter]:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*defaults, *arguments.defaults], strict=True)]
    pairs = pairs[1:] if skip_first else pairs
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in pairs:
        yield Parameter(
            argument.arg,
            default is None,
            ast.unparse(default) if default is not None else None,
            ast.unparse(argument.annotation) if argument.annotation is not None else None,
        )


def _use_of_kwargs(node: FunctionNode, name: str) -> _Use:
    """Find what becomes of ``**kwargs``: taken by name, handed on, or used in another way."""
    use = _Use()
    parents = {
        child: parent for parent in walk_function(node) for child in ast.iter_child_nodes(parent)
    }
    for item in walk_function(node):
        if not isinstance(item, ast.Name) or item.id != name or isinstance(item.ctx, ast.Store):
            continue
        parent = parents.get(item)
        if isinstance(parent, ast.keyword) and parent.arg is None:
            call = parents[parent]
            if isinstance(call, ast.Call):
                use.calls.append(call)
            continue
        taken = _taken_by_name(item, parent, parents)
        if taken is not None:
            use.names += taken
        elif not _only_looks(item, parent):
            use.elsewhere = True
    return use


def _taken_by_name(
    item: ast.Name, parent: ast.AST | None, parents: dict[ast.AST, ast.AST]
) -> list[str] | None:
    """Return the names in ``kwargs.pop("a")``, ``kwargs["a"]``, ``"a" in kwargs``."""
    if isinstance(parent, ast.Attribute):
        call = parents.get(parent)
        if not isinstance(call, ast.Call) or parent.attr not in ("pop", "get", "setdefault"):
            return [] if parent.attr in ("keys", "items", "values", "copy", "update") else None
        key: ast.expr | None = call.args[0] if call.args else None
    elif isinstance(parent, ast.Subscript) and parent.value is item:
        key = parent.slice
    elif isinstance(parent, ast.Compare) and item in parent.comparators:
        key = parent.left
    else:
        return None
    return [str(key.value)] if isinstance(key, ast.Constant) else None


def _only_looks(item: ast.Name, parent: ast.AST | None) -> bool:
    """Tell whether ``kwargs`` is only counted or tested, as before an error."""
    if isinstance(parent, (ast.If, ast.BoolOp, ast.UnaryOp, ast.FormattedValue, ast.IfExp)):
        return True
    names = ("len", "bool", "sorted", "list", "any", "str", "repr", "print")
    return (
        isinstance(parent, ast.Call)
        and isinstance(parent.func, ast.Name)
        and parent.func.id in names
        and item in parent.args
    )


def _not_given(target: Signature, call: ast.Call) -> Iterator[Parameter]:
    """Yield the parameters of a called signature that the call leaves to ``**kwargs``."""
    positional = [item for item in call.args if not isinstance(item, ast.Starred)]
    by_class = isinstance(call.func, ast.Attribute) and call.func.attr in ("__init__", "__new__")
    count = len(positional) - (1 if by_class and not _is_super_method(call.func) else 0)
    given = {keyword.arg for keyword in call.keywords}
    for parameter in target.parameters[max(count, 0) :]:
        if parameter.name not in given:
            yield parameter


def _is_super_method(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in ("__init__", "__new__")
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "super"
    )


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _merge_orders(chains: list[list[Definition]]) -> list[Definition]:
    """Merge orders of bases as Python does (C3)."""
    merged: list[Definition] = []
    chains = [chain for chain in chains if chain]
    while chains:
        tails = {item.path for chain in chains for item in chain[1:]}
        head = next((chain[0] for chain in chains if chain[0].path not in tails), chains[0][0])
        merged.append(head)
        chains = [[item for item in chain if item.path != head.path] for chain in chains]
        chains = [chain for chain in chains if chain]
    return merged
