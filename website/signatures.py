"""What griffe, which reads the package without importing it, does not see.

- equinox modules are dataclasses: it looks for decorators alone.
- `from .view import view as view` in a package hides the module `view` by the function.
"""

from collections.abc import Iterator
from contextlib import suppress

import griffe

DATACLASS = griffe.Decorator(griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None)


class Signatures(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Runs before griffe's own extension, which writes `__init__` for decorated classes."""
        for cls in _classes(pkg):
            if _is_equinox_module(cls) and "__init__" not in cls.all_members:
                cls.decorators.append(DATACLASS)
                for field in cls.attributes.values():
                    field.value = _default(field.value)
        _resolve(pkg)  # paths of hidden modules lead nowhere
        _hide_modules(pkg)


def _resolve(scope: griffe.Module | griffe.Class) -> None:
    for member in scope.members.values():
        if isinstance(member, griffe.Alias):
            with suppress(griffe.AliasResolutionError):  # other packages
                member.resolve_target()
        elif isinstance(member, griffe.Module | griffe.Class):
            _resolve(member)


def _hide_modules(package: griffe.Module) -> None:
    for module in package.modules.values():
        if not module.is_alias:
            _hide_modules(module)
    for name, path in package.imports.items():
        if path == f"{package.path}.{name}.{name}":
            package.members[name] = griffe.Alias(name, package[name][name], parent=package)


def _classes(scope: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in scope.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _classes(member)


def _is_equinox_module(cls: griffe.Class) -> bool:
    bases = [base for c in (cls, *cls.mro()) for base in c.bases]
    return any(isinstance(b, griffe.Expr) and b.canonical_path == "equinox.Module" for b in bases)


def _default(value: str | griffe.Expr | None) -> str | griffe.Expr | None:
    """X of `eqx.field(default=X)`; None of `eqx.field(static=True)`, which has no default."""
    if not isinstance(value, griffe.ExprCall) or value.canonical_path != "equinox.field":
        return value
    return next((a.value for a in value.arguments if a.name == "default"), None)
