"""What a results page says of runs whose directories are gone: its sections, and their entries in its JSON."""

from pathlib import Path
from typing import Any

from bakeoff.rundir.files import read_json

HEADING = "\n## "


def merged_page(old: str, new: str) -> str:
    """The new page with those of the old one's sections that it lacks, each behind the section it stood behind."""
    before, (head, *sections) = old.split(HEADING)[1:], new.split(HEADING)
    titles = [_title(one) for one in sections]
    behind = 0
    for one in before:
        if _title(one) in titles:
            behind = titles.index(_title(one)) + 1
            continue
        sections.insert(behind, one.rstrip() + "\n")
        titles.insert(behind, _title(one))
        behind += 1
    return HEADING.join([head, *(one.rstrip() + "\n" for one in sections)])


def merged_document(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new document with the old one's runs and sweeps of protocols that it does not name."""
    named = {one["protocol"] for one in new["runs"]}
    runs = [one for one in old["runs"] if one["protocol"] not in named]
    return {"runs": [*runs, *new["runs"]], "sweeps": {**old.get("sweeps", {}), **new["sweeps"]}}


def with_kept(out: Path, name: str, page: str, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Page and document as they stand in a folder, with what is new in place of what is old."""
    if not (out / f"{name}.md").is_file():
        return page, document
    old = (out / f"{name}.md").read_text()
    return merged_page(old, page), merged_document(read_json(out / f"{name}.json"), document)


def _title(section: str) -> str:
    return section.split("\n", 1)[0]
