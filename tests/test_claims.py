"""The page of claims: every line is whole, its state fits its words, links lead somewhere, sums are right."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
TEXT = PAGE.read_text()
COLUMNS = ["claim or question", "source", "state", "what we say"]
STATES = {  # how what we say begins -> the states it may have
    "Holds:": {"answered"},
    "Does not hold:": {"answered"},
    "By arithmetic:": {"answered"},
    "By definition:": {"answered"},
    "By the source:": {"answered"},
    "Built in:": {"answered"},
    "Can't tell at this size:": {"open"},
    "Out of scope:": {"open"},
    "Out of scope; by arithmetic:": {"answered"},
    "Out of scope; by the source:": {"answered"},
}


def tables() -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of every table of the page."""
    blocks = re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
    cells = [[[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()] for block in blocks]
    return [(rows[0], rows[2:]) for rows in cells]


CLAIMS = [row for header, rows in tables() if header == COLUMNS for row in rows]
SOURCES = next({row[0] for row in rows} for header, rows in tables() if header[0] == "source")


def table(first: str) -> list[list[str]]:
    return next(rows for header, rows in tables() if header[0] == first)


def number(cell: str) -> float:
    return float(cell.rstrip(" %").replace(",", ""))


def test_every_row_has_all_columns() -> None:
    assert len(CLAIMS) > 100
    for header, rows in tables():
        for row in rows:
            assert len(row) == len(header) and all(row), row


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0][:40])
def test_a_claim_has_a_source_a_state_and_words_that_fit_it(row: list[str]) -> None:
    _, source, state, says = row
    assert all(re.sub(r"^question .*", "study", part) in SOURCES for part in source.split(", "))
    beginnings = [word for word in STATES if says.startswith(word)]
    assert len(beginnings) == 1 and state in STATES[beginnings[0]]
    if state == "answered":
        assert re.search(r"\]\(|`(bakeoff|python) ", says), "needs a link or a command"
    if beginnings == ["Can't tell at this size:"]:
        assert "Would tell: " in says


def test_no_claim_is_listed_twice() -> None:
    claims = [re.sub(r"\W+", " ", row[0]).strip().lower() for row in CLAIMS]
    assert sorted(claims) == sorted(set(claims))


def test_every_link_leads_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("https://"):
            assert (PAGE.parent / link.split("#")[0]).exists(), link


def test_every_protocol_and_page_it_names_exists() -> None:
    root = PAGE.parents[1]
    presets = {path.stem for path in (root / "src" / "bakeoff" / "protocol" / "presets").glob("*.toml")}
    for name in re.findall(r"`((?:mnist|smoke)[\w-]*)`", TEXT):
        assert name in presets, name
    for path in re.findall(r"`((?:protocols|examples|docs)/[^`]+)`", TEXT):
        assert (root / path).exists(), path


def test_attention_over_projections_is_tokens_over_twice_the_width() -> None:
    for tokens, width, ratio, _ in table("tokens"):
        assert number(ratio) == pytest.approx(number(tokens) / (2 * number(width)), abs=0.005)


def test_the_bytes_of_700_gb_follow_from_its_experts() -> None:
    routed = (671 - 37) / (1 - 8 / 256)  # GB; the rest is read by every batch
    for batch, touched, weights, cache, each, rate in table("batch"):
        B = number(batch)
        share = 1 - (1 - 8 / 256) ** B
        moved = 671 - routed * (1 - share) + 7 * B
        assert number(touched) == pytest.approx(100 * share, abs=0.05)
        assert number(weights) == pytest.approx(moved - 7 * B, abs=0.5)
        assert number(cache) == 7 * B
        assert number(each) == pytest.approx(moved / B, abs=0.05)
        assert number(rate) == pytest.approx(16 * 3350 * B / moved, rel=1e-3)
