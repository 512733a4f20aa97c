"""The page at the server's root, in headless Chromium."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support.served_model import expected, save_kinds, save_scores
from tests.support.serving_thread import embedded, get
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

CARD = {
    "example": {"I1": "1", "I2": "-2", "C1": "68fd1e64"},
    "metrics": {"test": {"auc": 0.79, "name": "</script><b>not markup</b>"}},
}


class Lists(tf.Module):
    """Count the values of a multi-hot column, and the letters of another column."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.string, "tags"),
            tf.TensorSpec([None], tf.string, "user"),
        ]
    )
    def raw(self, tags, user):
        counts = tf.reduce_sum(tf.cast(tags != "", tf.int32), 1)
        total = 10 * counts + tf.strings.length(user)
        return {"probability": tf.cast(total, tf.float32)[:, None] / 100}


def save_lists(path):
    model = Lists()
    tf.saved_model.save(model, str(path), signatures={"raw": model.raw})
    (path / "assets.extra").mkdir()
    card = {"example": {"tags": "news,cars", "user": None}}
    (path / "assets.extra" / "model.json").write_text(json.dumps(card))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    version = save_scores(directory / "scores" / "1")
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "model.json").write_text(json.dumps(CARD))
    save_kinds(directory / "kinds" / "1")
    save_lists(directory / "lists" / "1")
    models = [
        ModelSettings(name, directory / name) for name in ("scores", "kinds", "lists")
    ]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


def test_what_a_card_says_is_no_markup(server):
    status, page = get(f"{server.url}/")
    assert status == 200
    assert page.count("</script>") == 2
    assert "scores, kinds, lists" in page


def test_a_value_that_a_card_does_not_know_is_blank(server):
    _, page = get(f"{server.url}/")
    assert '"example": {"tags": "news,cars", "user": ""}' in page


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and its driver are not here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1100,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options, service) as browser:
        browser.implicitly_wait(10)
        yield browser


def answer_with(browser, text):
    from selenium.webdriver.support.ui import WebDriverWait

    answer = browser.find_element("id", "answer")
    WebDriverWait(browser, 20).until(lambda _: text in answer.text)
    return answer.text


@pytest.mark.slow
def test_a_person_asks_for_a_probability(server, browser):
    browser.get(f"{server.url}/")
    assert browser.find_element("id", "name").text == "scores"
    assert "0.79" in browser.find_element("id", "card").text
    names = [element.text for element in browser.find_elements("css selector", "label")]
    assert names == ["I1", "I2", "C1"]
    button = browser.find_element("css selector", "button")
    button.click()
    probability = float(answer_with(browser, "probability").split()[1])
    np.testing.assert_allclose(probability, expected([[1, -2]], [[8]])[0, 0], atol=1e-4)
    field = browser.find_element("name", "I1")
    field.clear()
    field.send_keys("many")
    button.click()
    assert "StringToNumberOp" in answer_with(browser, "could not correctly convert")
    if directory := os.environ.get("SCREENSHOTS"):
        browser.save_screenshot(f"{directory}/error.png")
    browser.get(f"{server.url}/")
    browser.find_element("css selector", "button").click()
    answer_with(browser, "probability")
    if directory:
        browser.save_screenshot(f"{directory}/page.png")
    browser.find_element("css selector", "option:last-child").click()
    browser.find_element("css selector", "button").click()
    assert answer_with(browser, "probability") == "probability 0.2000"
    browser.find_element("name", "tags").clear()
    browser.find_element("name", "user").send_keys("me")
    browser.find_element("css selector", "button").click()
    assert answer_with(browser, "0.02") == "probability 0.02000"
    problems = [
        entry["message"]
        for entry in browser.get_log("browser")
        if "favicon" not in entry["message"] and "400" not in entry["message"]
    ]
    assert problems == []
