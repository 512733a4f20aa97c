"""Shows on the site what our docstrings have that Google's do not."""

import re
from typing import Any

import griffe


class KerasDocstrings(griffe.Extension):
    """Fences examples, and makes a list of the arguments of a call."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            fenced = re.sub(
                r"^>>> .*(?:\n.+)*",
                r"```pycon\n\g<0>\n```",
                obj.docstring.value,
                flags=re.M,
            )
            listed = re.sub(
                r"^Call arguments:\n(?:    .*\n)+",
                lambda part: re.sub(
                    r"^    (\w+): ", r"    - `\1`: ", part[0], flags=re.M
                ),
                fenced,
                flags=re.M,
            )
            obj.docstring.value = re.sub(
                r"^Example:$", "**Example**", listed, flags=re.M
            )
