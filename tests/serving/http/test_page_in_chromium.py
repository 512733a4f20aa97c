"""The page in Chromium: asking, choosing, sizes and colors."""

import ast
import io
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.cinema import FILMS, GENRES, train_cinema
from tests.support.page_models import (
    Lists,
    chromium,
    save_cinema_by_hand,
    save_lists,
    show,
)
from tests.support.served import Served
from tests.support.served_model import save_kinds, save_scores
from tests.support.serving_thread import embedded, post
from tfdlrm.exporting.results_file import read_results
from tfdlrm.runs import simple_models
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.server import ServerSettings

pytestmark = pytest.mark.slow

SHOW_SIMPLE_MODELS = simple_models.show_simple_models
NAMES = ("cinema", "scores", "kinds", "lists", "by hand " + 8 * "and long ")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_models, "show_simple_models", SHOW_SIMPLE_MODELS)
        for epochs in (1, 3):
            run_dir = directory / f"run{epochs}"
            train_cinema(directory, epochs, run_dir=run_dir, evaluations_per_epoch=10)
    save_scores(directory / "scores" / "1")
    save_kinds(directory / "kinds" / "1")
    save_lists(directory / "lists" / "1")
    save_cinema_by_hand(directory / NAMES[-1].strip() / "1")
    return directory


@pytest.fixture(scope="module")
def server(root):
    models = [
        ModelSettings(name.strip(), root / name.strip(), VersionPolicy("all"))
        for name in NAMES
    ]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(server, browser):
    """Function that opens the page of a model; the console must stay empty."""
    show(browser)
    browser.get_log("browser")

    def open_page(name="cinema", query=""):
        browser.get(f"{server.url}/?model={name}{query}")
        return browser

    yield open_page
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert [
        m for m in messages if "favicon" not in m and "status of 400" not in m
    ] == []


def wait_for(browser, is_so):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda _: is_so())


def texts(browser, selector):
    return [item.text for item in browser.find_elements("css selector", selector)]


def predict(browser):
    """Press the button, and return the text of the answer."""
    browser.execute_script("document.querySelector('button.main').click()")
    button = browser.find_element("css selector", "button.main")
    wait_for(browser, button.is_enabled)
    return browser.find_element("id", "answer").text


def field(browser, name):
    """Return the input with a label."""
    label = browser.find_element("css selector", f"label[title={json.dumps(name)}]")
    return browser.find_element("id", label.get_attribute("for"))


def fill(browser, name, text):
    from selenium.webdriver.common.keys import Keys

    entry = field(browser, name)
    entry.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE, text)
    return entry


def contributions(browser):
    """Return the percentage points by column."""
    rows = browser.find_elements("css selector", ".effects .name strong")
    points = texts(browser, ".effects .value")
    return {
        row.text: float(value.replace("\N{MINUS SIGN}", "-"))
        for row, value in zip(rows, points, strict=True)
    }


def test_the_contributions_are_those_of_leaving_one_column_out(page, root):
    browser = page()
    version = root / "cinema" / "2"
    row = read_results(version)["examples"][0]
    row["genres"] = "|".join(row["genres"])
    answer = predict(browser)
    served = Served(version)
    (whole,) = served.probabilities("raw", **{name: [x] for name, x in row.items()})
    assert answer.startswith(f"{100 * whole:.1f} %\nprobability {whole:.4f}")
    expected = {}
    for name in row:
        rest = {column: [x if column != name else ""] for column, x in row.items()}
        expected[name] = 100 * (whole - served.probabilities("raw", **rest)[0])
    shown = contributions(browser)
    assert shown.keys() == {name for name in row if row[name]}
    for name, points in shown.items():
        assert abs(points - expected[name]) < 0.051
    sizes = list(map(abs, shown.values()))
    assert sizes == sorted(sizes, reverse=True)


def test_the_rank_is_that_among_the_validation_scores(page, root):
    browser = page()
    answer = predict(browser)
    probability = float(re.search(r"probability ([0-9.]+)", answer)[1])
    quantiles = np.array(read_results(root / "cinema" / "2")["quantiles"])
    rank = float(re.search(r"Higher than ([0-9.]+) %", answer)[1])
    assert abs(rank - 100 * np.mean(quantiles < probability)) < 1


def test_simple_models_are_next_to_the_model(page, root):
    browser = page()
    results = read_results(root / "cinema" / "2")
    shown = texts(browser, "table[aria-label='Simple models'] tbody tr")
    assert len(shown) == 1 + len(results["baselines"]["test"])
    rate = results["baselines"]["test"]["base rate"]["log_loss"]
    assert f"{rate:.4f}" in next(row for row in shown if row.startswith("base rate"))
    assert f"base rate alone {rate:.4f}" in texts(browser, ".tile")[1]


def test_each_served_version_answers_the_row(page, server):
    browser = page()
    predict(browser)
    body = json.loads(shlex.split(texts(browser, "#snippets pre")[0])[-1])
    shown = texts(browser, "#version-table td:last-child")
    for version, text in zip((2, 1), shown, strict=True):
        url = f"{server.url}/v1/models/cinema/versions/{version}:predict"
        _, answer = post(url, body)
        assert text == f"{100 * answer['predictions'][0][0]:.1f} %"
    assert texts(browser, "#version-table tr.current th") == ["2"]


def test_values_are_chosen_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    browser = page()
    film = fill(browser, "film", "LIGHTH")
    wait_for(browser, lambda: film.get_attribute("aria-expanded") == "true")
    choices = texts(browser, "[role=option] > :first-child")
    assert sorted(choices) == sorted(f for f in FILMS if "Lighth" in f)
    film.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    active = browser.find_element("id", film.get_attribute("aria-activedescendant"))
    assert active.get_attribute("aria-selected") == "true"
    film.send_keys(Keys.ENTER)
    assert film.get_attribute("value") == choices[1]
    assert film.get_attribute("aria-expanded") == "false"
    fill(browser, "film", "nobody")
    wait_for(browser, lambda: "no such value" in "".join(texts(browser, ".note")))
    film.send_keys(Keys.ESCAPE)
    assert "unknown" not in predict(browser)


def test_several_values_of_a_column_are_added_and_removed(page):
    from selenium.webdriver.common.keys import Keys

    browser = page()
    browser.find_element("xpath", "//button[text()='Clear']").click()
    genres = field(browser, "genres")
    genres.click()
    wait_for(browser, lambda: genres.get_attribute("aria-expanded") == "true")
    assert sorted(texts(browser, "[role=option] > :first-child")) == sorted(GENRES)
    option = browser.find_element("css selector", "[role=option]")
    chosen = option.text.split("\n")[0]
    option.click()
    genres.send_keys("a value of one's own", Keys.ENTER, "War", Keys.ENTER)
    chips = [chip[:-2] for chip in texts(browser, ".chip")]
    assert chips == [chosen, "a value of one's own", "War"]
    browser.find_elements("css selector", ".chip")[1].click()
    body = json.loads(shlex.split(texts(browser, "#snippets pre")[0])[-1])
    assert body["instances"][0]["genres"] == [chosen, "War"]
    assert body["instances"][0]["film"] is None
    assert "probability" in predict(browser)


def test_an_error_names_the_column_without_tensorflows_words(page):
    browser = page()
    fill(browser, "age", "many")
    answer = predict(browser)
    assert answer == "age of row 0 is `many`, expected a finite number or nothing"
    assert browser.find_element("id", "answer").get_attribute("class") == "error"
    fill(browser, "age", "40")
    assert "probability" in predict(browser)


def test_the_snippets_are_what_the_form_asks(page, server):
    browser = page()
    fill(browser, "film", 'It\'s "so"')
    curl, python = texts(browser, "#snippets pre")
    _, _, url, _, body = shlex.split(curl.replace("\\\n", ""))
    request = json.loads(body)
    assert request["instances"][0]["film"] == 'It\'s "so"'
    assert isinstance(request["instances"][0]["age"], int)
    literal = re.search(r"request = (.*?)\nanswer", python, re.DOTALL)[1]
    assert ast.literal_eval(literal) == request
    assert url == f"{server.url}/v1/models/cinema:predict"
    status, answer = post(url, request)
    assert status == 200
    shown = float(re.search("probability ([0-9.]+)", predict(browser))[1])
    np.testing.assert_allclose(answer["predictions"][0][0], shown, atol=1e-4)


def test_an_older_version_is_asked_by_its_number(page, server):
    browser = page(query="&version=1")
    assert "version 1" in texts(browser, "#about li")
    assert "/v1/models/cinema/versions/1:predict" in texts(browser, "#snippets pre")[0]
    older = predict(browser).split("\n")[0]
    assert older != predict(page()).split("\n")[0]


def test_a_model_without_a_card_is_asked_by_a_request(page):
    browser = page("kinds")
    assert (
        "does not" in texts(browser, "#settings")[0]
        or "no card" in texts(browser, "#settings")[0]
    )
    answer = json.loads(predict(browser))
    assert answer["outputs"]["doubles"] == [[3.0, 3.0]]
    box = browser.find_element("id", "request")
    browser.execute_script("arguments[0].value = '{'", box)
    assert "JSON Parse error" in predict(browser)


def test_columns_that_nothing_describes_are_texts(page):
    browser = page("lists")
    fill(browser, "user", "me")
    assert "probability 0.1200" in predict(browser)
    expected = Lists().raw([["news"]], ["me"])["probability"].numpy()
    np.testing.assert_allclose(expected, 0.12)
    browser = page("scores")
    assert texts(browser, ".field label") == ["I1", "I2", "C1"]
    assert "probability 0.5000" in predict(browser)


def test_another_model_is_chosen_in_the_head(page):
    browser = page()
    option = browser.find_element("xpath", "//option[text()='lists']")
    option.click()
    wait_for(browser, lambda: texts(browser, "h1") == ["lists"])


@pytest.mark.parametrize("width", [1280, 390, 360])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_the_window(page, name, width):
    browser = page(name)
    show(browser, width)
    predict(browser)
    for details in browser.find_elements("css selector", "details"):
        browser.execute_script("arguments[0].open = true", details)
    widest = browser.execute_script("return document.documentElement.scrollWidth")
    assert widest == width


def test_the_colors_are_those_that_the_reader_prefers(page):
    browser = page()
    colors = []
    for scheme in ("light", "dark"):
        show(browser, scheme=scheme)
        body = browser.find_element("css selector", "body")
        colors.append(
            sum(map(int, re.findall(r"\d+", body.value_of_css_property("color"))[:3]))
        )
    assert colors[0] < 150 < 600 < colors[1]


def test_each_control_and_picture_has_a_name(page):
    browser = page()
    predict(browser)
    for control in browser.find_elements(
        "css selector", "input, select, button, svg[role]"
    ):
        assert control.accessible_name, control.get_attribute("outerHTML")
    levels = [
        int(item.tag_name[1])
        for item in browser.find_elements("css selector", "h1,h2,h3")
    ]
    assert levels[0] == 1 and max(np.diff(levels)) <= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_of_the_page(page, scheme, tmp_path):
    """With `SCREENSHOTS` in the environment, the picture of the docs."""
    directory = Path(os.environ.get("SCREENSHOTS", tmp_path))
    browser = page()
    show(browser, 1180, 1240, scheme)
    predict(browser)
    picture = directory / f"page_{scheme}.png"
    image = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    image.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(
        picture, optimize=True
    )
    assert 10_000 < picture.stat().st_size < 150_000
