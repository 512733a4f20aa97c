"""The page at the server's root, as a browser receives it."""

import base64
import hashlib
import json
import re
from importlib import resources

import numpy as np
import pytest

from tests.support.page_models import CARD, save_cinema_by_hand, save_lists
from tests.support.served_model import save_kinds, save_scores
from tests.support.serving_thread import embedded, get
from tfdlrm.serving.http.model_facts import describe_model
from tfdlrm.serving.http.page import page, policy
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    for number in (1, 2):
        version = save_scores(directory / "scores" / str(number))
        (version / "assets.extra").mkdir()
        (version / "assets.extra" / "model.json").write_text(json.dumps(CARD))
    save_kinds(directory / "kinds" / "1")
    save_lists(directory / "lists" / "1")
    save_cinema_by_hand(directory / "cinema" / "1")
    models = [
        ModelSettings(name, directory / name, VersionPolicy("all"))
        for name in ("scores", "kinds", "lists", "cinema")
    ]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


def facts_in(text):
    """Return the data of a page."""
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    return json.loads(re.search(pattern, text, re.DOTALL)[1])


def facts(server, query=""):
    status, text = get(f"{server.url}/{query}")
    assert status == 200
    return facts_in(text)


def test_what_a_card_says_is_no_markup(server):
    _, text = get(f"{server.url}/")
    assert text.count("</script>") == 2
    assert "<b>not markup" not in text
    assert facts_in(text)["card"]["metrics"]["test"]["name"].startswith("</script>")


def test_the_policy_allows_the_style_and_the_script_of_the_page_alone(server):
    _, text = get(f"{server.url}/")
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        content = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy()
    assert "unsafe" not in policy()
    assert policy().startswith("default-src 'none';")


def test_the_page_has_no_address_of_another_site():
    folder = resources.files("tfdlrm.serving.http") / "web"
    texts = [path.read_text("utf-8") for path in folder.iterdir()]
    addresses = {
        address for text in texts for address in re.findall("https?://[^\"']*", text)
    }
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not any("innerHTML" in text or "style=" in text for text in texts)


def test_the_parts_of_the_page_are_not_looked_for_in_what_a_model_says(server):
    _, text = get(f"{server.url}/")
    assert facts_in(text)["card"]["metrics"]["test"]["title"] == "{{script}}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ("scores", 2)),
        ("?model=kinds", ("kinds", 1)),
        ("?model=scores&version=1", ("scores", 1)),
        ("?model=scores&version=9", ("scores", 2)),
        ("?version=1", ("scores", 1)),
        ("?model=another", ("scores", 2)),
        ("?model=%22%3E%3Cb%3E&version=x", ("scores", 2)),
        ("?model=kinds&model=lists", ("scores", 2)),
        ("?a&b&c&d&e&f&g", ("scores", 2)),
        ("?model=%ff", ("scores", 2)),
    ],
)
def test_a_query_names_the_model_and_the_version(server, query, expected):
    description = facts(server, query)
    assert (description["name"], description["version"]) == expected
    assert description["models"] == ["scores", "kinds", "lists", "cinema"]


def test_versions_are_side_by_side_the_newest_first(server):
    versions = facts(server)["versions"]
    assert [version["version"] for version in versions] == [2, 1]
    assert [version["served"] for version in versions] == [True, True]
    assert versions[0]["measures"]["test"]["auc"] == 0.79


def test_a_model_of_another_tool_has_its_signatures(server):
    description = facts(server, "?model=kinds")
    assert description["card"] == description["results"] == {}
    assert description["columns"] == description["samples"] == []
    assert description["signatures"]["total"] == {
        "inputs": {"x": {"dtype": "float32", "shape": [-1]}},
        "outputs": {"total": {"dtype": "float32", "shape": []}},
    }


def test_columns_without_a_schema_are_texts_and_lists(server):
    assert facts(server, "?model=lists")["columns"] == [
        {"name": "tags", "list": True},
        {"name": "user", "list": False},
    ]
    assert facts(server, "?model=lists")["samples"] == [{"tags": "news", "user": None}]


def test_columns_are_in_the_order_of_the_schema(server):
    description = facts(server, "?model=cinema")
    assert description["columns"] == [
        {"name": "age", "list": False, "content": "number"},
        {"name": "film", "list": False, "content": "category", "values": 6},
        {"name": "genres", "list": False, "content": "bag", "values": 3},
    ]
    assert description["samples"] == [{"age": "41", "film": "Ω", "genres": ["War"]}]
    assert description["results"]["data"]["name"] == "films"


def test_damaged_extras_leave_a_page(server):
    models = server.models
    with models.model("cinema").use(None, "") as servable:
        extra = servable.path / "assets.extra"
    contents = {path: path.read_bytes() for path in extra.glob("*.json")}
    try:
        for damage in (b"", b"[1]", b"\xff", b'{"dense_features": 1}'):
            for path in contents:
                path.write_bytes(damage)
            description = describe_model(models, "cinema", None)
            names = [column["name"] for column in description["columns"]]
            assert names == ["age", "film", "genres"]
    finally:
        for path, content in contents.items():
            path.write_bytes(content)


def test_a_server_without_models_has_a_page():
    text = page([]).decode()
    assert facts_in(text) == {"models": []}
    assert "<title>no model" in text


def luminance(color):
    """Return the relative luminance of a color as WCAG 2 defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    brighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colors_have_the_contrast_that_readers_need(scheme):
    folder = resources.files("tfdlrm.serving.http") / "web"
    blocks = re.findall(
        r":root \{(.*?)\}", folder.joinpath("page.css").read_text(), re.S
    )
    colors = dict(re.findall(r"--([a-z-]+): (#\w+)", blocks[scheme]))
    for background in ("page", "card", "field", "code", "hover"):
        assert contrast(colors["text"], colors[background]) > 7
    for text in ("soft", "accent", "error"):
        assert contrast(colors[text], colors["card"]) > 4.5
        assert contrast(colors[text], colors["page"]) > 4.5
    assert contrast(colors["on-accent"], colors["accent"]) > 4.5
    for mark in ("second", "third", "up", "down", "edge"):
        assert contrast(colors[mark], colors["card"]) > 3


def test_the_vocabulary_itself_is_not_in_the_page(server):
    _, text = get(f"{server.url}/?model=cinema")
    assert "Paper Clock" not in text
