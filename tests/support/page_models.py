"""Small models for the server's page, and the browser that shows it."""

import json
import shutil
from contextlib import contextmanager

import polars as pl
import pytest
import tensorflow as tf

from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import write_vocabulary

CARD = {
    "example": {"I1": "1", "I2": "-2", "C1": "68fd1e64"},
    "metrics": {
        "test": {
            "auc": 0.79,
            "log_loss": float("nan"),
            "name": "</script><b>not markup</b>",
            "title": "{{script}}",
        }
    },
}

FILMS = ["Paper Ferry", "paper", "The Paper", "Paper Clock", "Ω", "a.*b"]
GENRES = ["War", "Musical", "Warm"]


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
    """Write a version of `Lists`."""
    model = Lists()
    tf.saved_model.save(model, str(path), signatures={"raw": model.raw})
    (path / "assets.extra").mkdir()
    card = {"example": {"tags": "news", "user": None}}
    (path / "assets.extra" / "model.json").write_text(json.dumps(card))


class Cinema(tf.Module):
    """A probability from the letters of three columns."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name) for name in ("age", "film", "genres")
        ]
    )
    def raw(self, age, film, genres):
        letters = map(tf.strings.length, (age, film, genres))
        total = tf.add_n([tf.cast(number, tf.float32) for number in letters])
        return {"probability": total[:, None] / 100}


def save_cinema_by_hand(path):
    """Write a version with a schema, vocabularies and results, without training."""
    model = Cinema()
    tf.saved_model.save(model, str(path), signatures={"raw": model.raw})
    extra = path / "assets.extra"
    extra.mkdir()
    columns = {"separators": ["|"], "format": "csv"}
    features = (
        CategoricalFeature("film", len(FILMS) + 2),
        CategoricalFeature("genres", len(GENRES) + 2, multi_hot=True),
    )
    FeatureSchema(("age",), features, columns=columns).save(extra)
    write_values(extra, "film", FILMS)
    write_values(extra, "genres", GENRES)
    results = {
        "data": {"name": "films"},
        "examples": [{"age": "41", "film": "Ω", "genres": ["War"]}],
    }
    (extra / "results.json").write_text(json.dumps(results))


def write_values(directory, name, values, dtype=pl.String):
    """Write a vocabulary whose values are ever less frequent."""
    size = len(values)
    vocabulary = pl.DataFrame(
        {"value": values, "id": range(2, size + 2), "frequency": range(size, 0, -1)},
        schema={"value": dtype, "id": pl.Int32, "frequency": pl.Int64},
    )
    write_vocabulary(vocabulary, directory, name)


@contextmanager
def chromium():
    """Start headless Chromium; skip the test where it is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("Chromium and its driver are not here")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as browser:
        yield browser


def show(browser, width=1280, height=900, scheme="light", scale=1):
    """Set the size of the window, and the colors that the reader prefers."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    metrics = {
        "width": width,
        "height": height,
        "deviceScaleFactor": scale,
        "mobile": False,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
