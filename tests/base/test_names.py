"""Names of variables say what they hold: words without a subject are rare."""

import ast
from collections import Counter

import pytest

from tests.support.processes import ROOT

WORDS = """
each found there given place places kind kinds form rule mine ours theirs wanted
made said told known kept left whole done described other others one what which
here aside noted shown asked taken seen lost counted joined
"""
VAGUE = frozenset(WORDS.split())
LARGEST_SHARE = 0.01
PACKAGES = ("tfdlrm", "pipelines", "benchmarks", "tests")


def bound_names(source):
    """Yield the names of variables and arguments that the source binds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def share_of_vague(names):
    return sum(names[name] for name in VAGUE) / names.total()


def test_every_way_to_bind_a_name_is_counted():
    source = """
def function(each, *, kind=None):
    place: int = 1
    for rule, (row, *found) in pairs:
        with open(path) as made:
            if said := [wanted for wanted in rows]:
                given = place
"""
    names = Counter(bound_names(source))
    assert names.total() == len(names) == 10
    assert names.keys() - VAGUE == {"row"}
    assert share_of_vague(names) == 9 / 10


@pytest.mark.slow_variants
@pytest.mark.parametrize("package", PACKAGES)
def test_few_names_are_words_without_a_subject(package):
    names_of = {
        path: Counter(bound_names(path.read_text("utf-8")))
        for path in (ROOT / package).rglob("*.py")
    }
    total = sum(names_of.values(), Counter())
    vague = {
        str(path.relative_to(ROOT)): sorted(VAGUE & set(names))
        for path, names in names_of.items()
        if VAGUE & set(names)
    }
    assert share_of_vague(total) < LARGEST_SHARE, vague
