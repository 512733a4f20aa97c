"""Text from outside, such as names of columns, shown without its effects on output."""

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters that join letters of Persian, or the parts of an emoji."""

_PLAIN_MARKDOWN = re.compile(r"(?![_.#+-])[\w .,:/()%=+-]*(?<!_)")
_MARKS = re.compile(r"([!-/:-@\[-`{-~])")


def visible(text: str) -> str:
    """Return text with line ends and control characters as Python's escapes.

    Terminals obey escape sequences, and characters that change the direction of writing
    hide what follows.

    Example:

    >>> print(visible("two\\nlines, \\x1b[31mred"))
    two\\nlines, \\x1b[31mred
    """
    return "".join(
        character
        if character == " " or character.isprintable() or character in _JOINERS
        else character.encode("unicode_escape").decode()
        for character in text
    )


def shorten(text: str, width: int) -> str:
    """Return visible text of at most `width` columns of a terminal.

    The middle is left out, since names often differ at their ends.

    Example:

    >>> shorten("a_name_of_many_words_1", 13)
    'a_name…ords_1'
    """
    text = visible(text)
    if text_width(text) <= width:
        return text
    end = _cut(text[::-1], (width - 1) // 2)[::-1]
    return f"{_cut(text, width - 1 - text_width(end))}…{end}"


def text_width(text: str) -> int:
    """Return how many columns of a terminal text takes.

    Example:

    >>> text_width("日付"), text_width("day")
    (4, 3)
    """
    return sum(map(_width, text))


def markdown(text: str) -> str:
    """Return visible text that Markdown shows as it is, also in a table.

    Example:

    >>> print(markdown("user_id"), markdown("a|b"), markdown("<b>"))
    user_id a\\|b \\<b\\>
    """
    text = visible(text)
    return text if _PLAIN_MARKDOWN.fullmatch(text) else _MARKS.sub(r"\\\1", text)


def _cut(text: str, width: int) -> str:
    start = ""
    for character in text:
        width -= _width(character)
        if width < 0:
            break
        start += character
    return start


def _width(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
