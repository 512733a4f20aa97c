"""What `--help` prints: the options people use first, then the others by subject."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tfdlrm.base.setting_list import Setting
from tfdlrm.base.setting_words import as_setting, choices, metavar

MOST_WIDTH = 80
_INDENT = 24

Subjects = Mapping[str, Sequence[str]]
"""Headings, and the options below each; one that ends with a dot or `_` stands
for all that begin so."""

_FILES = (
    (
        "--config FILE",
        "YAML file of settings, which has the names of options as keys; options on the "
        "command line win.",
    ),
    ("--print_config", "Print the settings that the command would use, as YAML."),
    ("-h, --help", "Print this."),
)


@dataclass(frozen=True)
class CommandHelp:
    """What there is to say about a command.

    Args:
        module: What follows `python -m`.
        summary: What it does.
        settings: Its settings.
        several: Names of those that take several values in a row.
        subjects: The order of its options.
        others: By name of a setting that chooses among several, such as `model.name`,
            the values that it may have.
        optional: Those of these settings that have no default.
    """

    module: str
    summary: str
    settings: Sequence[Setting]
    several: Iterable[str] = ()
    subjects: Subjects = field(default_factory=dict)
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    optional: Iterable[str] = ()

    def text(self) -> str:
        """Return the lines for a terminal, of at most 80 columns."""
        width = max(40, min(MOST_WIDTH, shutil.get_terminal_size((80, 24)).columns))
        paragraphs = [
            textwrap.fill(paragraph, width, break_on_hyphens=False)
            for paragraph in self.summary.split("\n\n")
        ]
        groups = [
            "\n".join([f"{heading}:", *self._entries(settings, width)])
            for heading, settings in self._groups().items()
            if settings
        ]
        files = [_entry(option, text, width) for option, text in _FILES]
        groups.append("\n".join(["files of settings, and help:", *files]))
        return "\n\n".join([self._usage(width), *paragraphs, *groups]) + "\n"

    def _usage(self, width: int) -> str:
        words = [
            f"--{setting.name} {self._metavar(setting)}"
            for setting in self.settings
            if setting.is_required
        ]
        words = [word.replace(" ", "\0") for word in (*words, "[options]")]
        start = f"usage: python -m {self.module} "
        usage = textwrap.fill(
            start + " ".join(words),
            width,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return usage.replace("\0", " ")

    def _groups(self) -> dict[str, list[Setting]]:
        """Return the settings by subject, each once, and the rest at the end."""
        rest = {setting.name: setting for setting in self.settings}
        groups = {}
        for heading, names in self.subjects.items():
            chosen = [
                name
                for pattern in names
                for name in rest
                if name == pattern or (pattern[-1] in "._" and name.startswith(pattern))
            ]
            groups[heading] = [rest.pop(name) for name in dict.fromkeys(chosen)]
        required = [name for name in rest if rest[name].is_required]
        ordered = [rest.pop(name) for name in required] + list(rest.values())
        groups["more options" if self.subjects else "options"] = ordered
        return groups

    def _entries(self, settings: Iterable[Setting], width: int) -> list[str]:
        return [
            _entry(
                f"--{setting.name} {self._metavar(setting)}",
                self._description(setting, width),
                width,
            )
            for setting in settings
        ]

    def _metavar(self, setting: Setting) -> str:
        if setting.name in self.several:
            return "PATH [PATH ...]"
        if setting.name in self.others:
            return f"{{{','.join(self.others[setting.name])}}}"
        return metavar(setting.hint)

    def _description(self, setting: Setting, width: int) -> str:
        text = setting.description
        names = choices(setting.hint)
        if names and any(f"`{name}`" not in text for name in names):
            is_listed = not metavar(setting.hint).startswith("NAME")
            if not is_listed:
                text = f"{text} Names: {', '.join(names)}."
        if setting.is_required:
            return f"{text} Required."
        others = self.others.get(setting.name)
        default = others[0] if others else setting.default
        if setting.name in self.optional:
            default = None
        if default is None or default == () or default == "":
            return text
        return f"{text} Default: {as_setting(default)}."


def _entry(option: str, text: str, width: int) -> str:
    """Return an option and the text about it, which begins beside a short one."""
    lines = textwrap.wrap(
        text, width - _INDENT, break_on_hyphens=False, break_long_words=False
    )
    indented = [f"{'':{_INDENT}}{line}" for line in lines]
    head = f"  {option}"
    if len(head) <= _INDENT - 2 and indented:
        return "\n".join([f"{head:{_INDENT}}{lines[0]}", *indented[1:]])
    return "\n".join([head, *indented])
