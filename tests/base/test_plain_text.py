"""Text from outside on terminals and in Markdown, whose oracle is markdown-it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from tfdlrm.base.plain_text import markdown, shorten, text_width, visible

NAMES = ["a|b", "`tick`", "<b>h</b>", "[red]x", "_x_", "**x**", "#h", "- d", "1. a"]
NAMES += ["a\\|b", "&amp;", "![x](y)", "\\", "~~x~~", "$x$", "a*b*c", "+a", "日付"]


def cell_of_table(text):
    """Return the text of the first cell of a table, as readers see it."""
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parsed.parse(f"| name | n |\n|---|---|\n| {text} | 1 |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert [cell.content for cell in cells[:2]] == ["name", "n"]
    assert [cell.type for cell in cells[2].children] == ["text"] and len(cells) == 4
    return cells[2].children[0].content


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name_as_it_is(name):
    assert cell_of_table(markdown(name)) == name


@given(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1))
def test_markdown_shows_any_name_as_it_is(name):
    assert cell_of_table(markdown(name)) == name


@pytest.mark.parametrize("name", ["C1", "user_id", "price (EUR)", "a/b", "größe"])
def test_markdown_of_an_ordinary_name_is_the_name(name):
    assert markdown(name) == name


@given(st.text())
def test_nothing_acts_on_a_terminal(text):
    visible_text = visible(text)
    assert "\x1b" not in visible_text and len(visible_text.splitlines()) <= 1
    assert visible_text.replace("\u200c", "").replace("\u200d", "").isprintable()


def test_what_is_hidden_is_shown_as_an_escape():
    assert visible("a\x1b[2Jb\u202ec\ttab") == r"a\x1b[2Jb\u202ec\ttab"
    assert visible("日付 שלום 🙂") == "日付 שלום 🙂"


@given(st.text(), st.integers(3, 30))
def test_shortened_text_fits(text, width):
    assert text_width(shorten(text, width)) <= width


def test_both_ends_of_a_long_name_stay():
    assert shorten("x" * 50 + "_1", 9) == "xxxx…xx_1"
    assert shorten("short", 9) == "short"
    assert shorten("日付" * 9, 8) == "日付…付"


@pytest.mark.parametrize("text", ["day", "日付", "größe", "שלום", "e\u0301"])
def test_widths_are_those_of_terminals(text):
    assert text_width(text) == cell_len(text)
