"""Write docs/protocol.md from the schema: python scripts/write_reference.py (a test checks that it is not stale)."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bakeoff.protocol import schema
from bakeoff.protocol.presets import preset_names

PAGE = Path(__file__).parents[1] / "docs" / "protocol.md"
INTRODUCTION = """# The protocol, key by key

A protocol is a TOML file; everything that decides a bake-off stands in it. Presets: {presets}. A run's
`protocol.toml` has every default written out. Override single keys with `--set`:

```sh
bakeoff plan smoke --set training.lr=3e-4 --set backbones.0.repeats=3
```

This page is generated from the schema (`python scripts/write_reference.py`).
"""
SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("top level", schema.Protocol),
    ("[task]", schema.Task),
    ('[codec], kind = "pixel"', schema.PixelCodec),
    ('[codec], kind = "latent"', schema.LatentCodec),
    ("[model]", schema.Model),
    ("[mixers.mamba]", schema.MambaOptions),
    ("[mixers.attention]", schema.AttentionOptions),
    ("[[backbones]]", schema.Backbone),
    ("[budget]", schema.Budget),
    ("[training]", schema.Training),
    ("[sampling]", schema.Sampling),
    ("[judge]", schema.Judge),
    ("[rule]", schema.Rule),
]
SYMBOLS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}


def reference() -> str:
    parts = [INTRODUCTION.format(presets=", ".join(f"`{name}`" for name in preset_names()))]
    for title, section in SECTIONS:
        parts.append(f"## {title}\n")
        if section.__doc__ and section.__doc__ != schema.Section.__doc__:
            parts.append(f"{section.__doc__}\n")
        fields = [(name, field) for name, field in section.model_fields.items() if not _is_section(field.annotation)]
        if fields:
            parts.append("| key | value | default | meaning |\n|---|---|---|---|")
            parts.extend(_row(name, field) for name, field in fields)
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.default is PydanticUndefined else f"`{_toml(field.default)}`"
    return f"| `{name}` | {_allowed(field)} | {default} | {field.description or ''} |"


def _allowed(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{_toml(value)}`" for value in get_args(annotation))
    limits = []
    for limit in field.metadata:
        for kind, (symbol, attribute) in SYMBOLS.items():
            if isinstance(limit, kind):
                limits.append(f"{symbol} {getattr(limit, attribute):,}")
        if isinstance(limit, MinLen):
            limits.append(f"at least {limit.min_length}")
        if isinstance(limit, MaxLen):
            limits.append(f"at most {limit.max_length:,}")
    return " ".join([_words(annotation), ", ".join(limits)]).strip()


def _words(annotation: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if annotation in names:
        return names[annotation]
    if get_origin(annotation) is tuple:
        items = [item for item in get_args(annotation) if item is not ...]
        return f"list of {_words(items[0])}s" if ... in get_args(annotation) else f"{len(items)} {_words(items[0])}s"
    return " or ".join(_words(item) for item in get_args(annotation) if item is not type(None))


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _is_section(annotation: Any) -> bool:
    kinds = [annotation, *get_args(annotation)]
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


if __name__ == "__main__":
    PAGE.write_text(reference())
    print(f"wrote {PAGE}")
