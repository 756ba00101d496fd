"""Write docs/protocol.md and docs/table.md from the schemas: python scripts/write_reference.py (a test compares)."""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bakeoff.protocol import schema
from bakeoff.protocol.audit import published
from bakeoff.protocol.presets import preset_names
from bakeoff.protocol.sections import base, codecs, mixers, objectives, sampling, sweep, tasks

DOCS = Path(__file__).parents[1] / "docs"
PROTOCOL = """# The protocol, key by key

A protocol is a TOML file; everything that decides a bake-off stands in it. Presets: {presets}. A run's
`protocol.toml` has every default written out. Override single keys with `--set`:

```sh
bakeoff plan smoke --set training.lr=3e-4 --set backbones.0.repeats=3
```

This page is generated from the schema (`python scripts/write_reference.py`).
"""
PROTOCOL_SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("top level", schema.Protocol),
    ('[task], kind = "mnist"', tasks.Mnist),
    ('[task], kind = "recall"', tasks.Recall),
    ('[task], kind = "tracking"', tasks.Tracking),
    ('[task], kind = "module:Class"', tasks.PlugInTask),
    ('[codec], kind = "pixel"', codecs.PixelCodec),
    ('[codec], kind = "latent"', codecs.LatentCodec),
    ("[model]", schema.Model),
    ("[mixers]", mixers.Mixers),
    ("[mixers.mamba]", mixers.MambaOptions),
    ("[mixers.mamba2]", mixers.Mamba2Options),
    ("[mixers.mamba3]", mixers.Mamba3Options),
    ("[mixers.attention]", mixers.AttentionOptions),
    ("[mixers.mlp]", mixers.MlpOptions),
    ("[mixers.conv]", mixers.ConvOptions),
    ("[[backbones]]", schema.Backbone),
    ("[budget]", schema.Budget),
    ('[objective], kind = "flow"', objectives.Flow),
    ('[objective], kind = "autoregressive"', objectives.Autoregressive),
    ('[codec] and [objective], kind = "module:Class"', base.PlugIn),
    ("[training]", schema.Training),
    ("[sweep]", sweep.Sweep),
    ("[sweep.found]", sweep.Found),
    ('[sampling], kind = "solver"', sampling.Solver),
    ('[sampling], kind = "decoding"', sampling.Decoding),
    ("[bar]", schema.Bar),
    ("[rule]", schema.Rule),
]
TABLE = """# A published table, key by key

What `bakeoff audit` reads: a TOML file with the figures of a study as it prints them. [The audit](audit.md) says what
is made of them. Only the backbones' names are required; a check that lacks a figure is skipped and says so.

This page is generated from the schema (`python scripts/write_reference.py`).
"""
TABLE_SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("[setup]", published.Setup),
    ("[[backbone]]", published.Row),
    ("[[backbone.blocks]]", published.Block),
    ("[[claim]]", published.Claim),
    ("[verdict]", published.PrintedVerdict),
]
SYMBOLS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}


def pages() -> dict[Path, str]:
    """The content of every generated page."""
    presets = ", ".join(f"`{name}`" for name in preset_names())
    return {
        DOCS / "protocol.md": _page(PROTOCOL.format(presets=presets), PROTOCOL_SECTIONS),
        DOCS / "table.md": _page(TABLE, TABLE_SECTIONS),
    }


def _page(introduction: str, sections: list[tuple[str, type[BaseModel]]]) -> str:
    parts = [introduction]
    for title, section in sections:
        parts.append(f"## {title}\n")
        if section.__doc__ and section.__doc__ != schema.Section.__doc__:
            parts.append(f"{inspect.cleandoc(section.__doc__)}\n")
        fields = [
            (name, field)
            for name, field in section.model_fields.items()
            if field.description or not _is_section(field.annotation)  # the others have a heading of their own
        ]
        if fields:
            parts.append("| key | value | default | meaning |\n|---|---|---|---|")
            parts.extend(_row(name, field) for name, field in fields)
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.default is PydanticUndefined else f"`{_toml(field.default)}`"
    return f"| `{name}` | {_allowed(field)} | {default} | {field.description or ''} |"


def _allowed(field: FieldInfo) -> str:
    limits = []
    for limit in field.metadata:
        for kind, (symbol, attribute) in SYMBOLS.items():
            if isinstance(limit, kind):
                limits.append(f"{symbol} {getattr(limit, attribute):,}")
        if isinstance(limit, MinLen):
            limits.append(f"at least {limit.min_length}")
        if isinstance(limit, MaxLen):
            limits.append(f"at most {limit.max_length:,}")
    return " ".join([_words(field.annotation), ", ".join(limits)]).strip()


def _words(annotation: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if annotation in names:
        return names[annotation]
    if _is_section(annotation):
        return "section"
    if get_origin(annotation) is Annotated:
        return _words(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{_toml(value)}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return f"table of {_several(get_args(annotation)[1])}"
    if get_origin(annotation) is tuple:
        items = [item for item in get_args(annotation) if item is not ...]
        return f"{'list of' if ... in get_args(annotation) else len(items)} {_several(items[0])}"
    return " or ".join(_words(item) for item in get_args(annotation) if item is not type(None))


def _several(annotation: Any) -> str:
    first, _, rest = _words(annotation).partition(" of ")
    if get_origin(annotation) is tuple:
        return f"{first}s of {rest}"
    return first if " or " in first else f"{first}s"


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _is_section(annotation: Any) -> bool:
    """A section, or a union of sections, tagged or not."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_is_section(one) for one in get_args(annotation))


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path}")
