"""Backbones that ship: a protocol takes one with `from`, and is written out in full before it is sealed."""

import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bakeoff.errors import BakeoffError, did_you_mean
from bakeoff.protocol.sections.mixers import Backbone

CATALOGUE = Path(__file__).with_name("catalogue.toml")


class Entry(NamedTuple):
    """One backbone of the catalogue.

    Attributes:
        about: what it is, and what differs from its source.
        source: address of the paper.
        document: its [[backbones]] table.
        versions: options of the versions of mixers that it needs, by their names.
    """

    about: str
    source: str
    document: dict[str, Any]
    versions: dict[str, dict[str, Any]]

    @property
    def backbone(self) -> Backbone:
        return Backbone.model_validate(self.document)


@cache
def catalogue() -> dict[str, Entry]:
    """Every entry, by its name, in the order of the file."""
    read = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    entries = {}
    for name, table in read["backbones"].items():
        document = {"name": name, **{key: value for key, value in table.items() if key not in ("about", "source")}}
        used = Backbone.model_validate(document).names
        versions = {one: read["versions"][one] for one in dict.fromkeys(used) if one in read["versions"]}
        entries[name] = Entry(table["about"], table["source"], document, versions)
    return entries


def written_out(document: dict[str, Any]) -> dict[str, Any]:
    """A protocol's document with every `from` of a backbone replaced by the entry; keys that stand beside it win.

    Raises:
        BakeoffError: no such entry.
    """
    backbones = document.get("backbones")
    if not isinstance(backbones, list) or not any(isinstance(one, dict) and "from" in one for one in backbones):
        return document
    made = deepcopy(document)
    mixers = made.setdefault("mixers", {})
    for i, backbone in enumerate(made["backbones"]):
        if not isinstance(backbone, dict) or "from" not in backbone:
            continue
        entry = _entry(backbone.pop("from"), f"backbones.{i}.from")
        made["backbones"][i] = {**deepcopy(entry.document), **backbone}
        for name in _names(made["backbones"][i].get("mixers")):
            if name in entry.versions and isinstance(mixers, dict):
                own = mixers.get(name, {})
                mixers[name] = {**entry.versions[name], **own} if isinstance(own, dict) else own
    return made


def _entry(name: object, where: str) -> Entry:
    entries = catalogue()
    if not isinstance(name, str) or name not in entries:
        near = did_you_mean(str(name)[:80], entries)
        raise BakeoffError(f"{where} = {str(name)[:80]}: no such backbone{near}; allowed: {', '.join(entries)}.")
    return entries[name]


def _names(mixers: object) -> list[str]:
    """The mixers of a document's layers, one by one; what is no list of names is left to the schema."""
    layers = mixers if isinstance(mixers, list) else []
    flat = [name for layer in layers for name in (layer if isinstance(layer, list) else [layer])]
    return [name for name in flat if isinstance(name, str)]
