"""A results page keeps what it says of runs that are not given again."""

from kept import merged_document, merged_page

OLD = "# Page\n\nHead.\n\n## a\n\nOld a.\n\n## b\n\nOld b.\n\n## Curve\n\nOld curve.\n\n## Pilots\n\nOld.\n"


def test_sections_that_are_new_replace_the_old_ones_and_the_others_stay_in_their_places() -> None:
    new = "# Page\n\nNew head.\n\n## b\n\nNew b.\n\n## Pilots\n\nNew.\n"
    assert merged_page(OLD, new) == (
        "# Page\n\nNew head.\n\n## a\n\nOld a.\n\n## b\n\nNew b.\n\n## Curve\n\nOld curve.\n\n## Pilots\n\nNew.\n"
    )


def test_a_page_of_all_runs_is_itself_and_a_section_that_comes_new_stands_where_the_page_has_it() -> None:
    assert merged_page(OLD, OLD) == OLD
    more = OLD.replace("## Curve", "## c\n\nNew c.\n\n## Curve")
    assert merged_page(OLD, more) == more


def test_runs_of_other_protocols_stay_in_the_document() -> None:
    def run(protocol: str, digest: str) -> dict[str, str]:
        return {"protocol": protocol, "digest": digest}

    old = {"runs": [run("a", "1"), run("b", "2"), run("b", "3")], "sweeps": {"a": {"x": 1}, "b": {"y": 2}}}
    found = merged_document(old, {"runs": [run("b", "4")], "sweeps": {"b": {"z": 3}}})
    assert found == {"runs": [run("a", "1"), run("b", "4")], "sweeps": {"a": {"x": 1}, "b": {"z": 3}}}
