"""Logged requests become a log with labels."""

import json
from dataclasses import replace

import polars as pl
import pytest
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from pipelines.logs.columns import Columns, DaysBy
from pipelines.prepare import prepare
from tests.support.serving_thread import embedded, post
from tests.support.shop import make_shop
from tfdlrm.base.errors import InputError
from tfdlrm.collect import CollectCommand, collect
from tfdlrm.config import PrepareConfig
from tfdlrm.data.records import record_footer, record_header
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.serving.log_settings import RequestLogging
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

SHOP = Columns("bought", ("price",), ("user",), ("tags",), separators=("|",))
NOON = 1_714_565_045  # 2024-05-01T12:04:05Z


def save_schema(directory, columns):
    """Write what an exported model says about its log; return the version."""
    categorical = [CategoricalFeature(name, 9) for name in columns.single_hot]
    categorical += [CategoricalFeature(name, 9, True) for name in columns.multi_hot]
    schema = FeatureSchema(
        columns.dense_features,
        tuple(categorical),
        label=columns.label,
        columns=None if columns.is_criteo else columns.to_json(),
    )
    extra = directory / "model" / "1" / "assets.extra"
    extra.mkdir(parents=True)
    schema.save(extra)
    (extra.parent / "saved_model.pb").touch()
    return extra.parent


def write_logs(path, *logs):
    contents = [log.SerializeToString() for log in logs]
    frames = [record_header(len(c)) + c + record_footer(c) for c in contents]
    path.write_bytes(b"".join(frames))
    return path


def raw_log(scores=(0.5, 0.25), **columns):
    """Return a logged request of raw rows, each column a list of texts."""
    log = PredictionLog()
    log.log_metadata.timestamp_secs = NOON
    for name, texts in columns.items():
        tensor = log.predict_log.request.inputs[name]
        tensor.dtype = 7
        is_listed = isinstance(texts[0], list)
        tensor.tensor_shape.dim.add(size=len(texts))
        if is_listed:
            tensor.tensor_shape.dim.add(size=len(texts[0]))
        flat = [text for row in texts for text in row] if is_listed else texts
        tensor.string_val.extend(text.encode() for text in flat)
    output = log.predict_log.response.outputs["probability"]
    output.dtype = 1
    output.tensor_shape.dim.add(size=len(scores))
    output.tensor_shape.dim.add(size=1)
    output.float_val.extend(scores)
    return log


def example(**features):
    message = Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message


def regress_log(examples, values):
    log = PredictionLog()
    log.log_metadata.timestamp_secs = NOON
    log.regress_log.request.input.example_list.examples.extend(examples)
    for value in values:
        log.regress_log.response.result.regressions.add(value=value)
    return log


@pytest.fixture
def logs(tmp_path):
    """Logged requests to a model of the shop: two raw rows and two Examples."""
    folder = tmp_path / "logs"
    folder.mkdir()
    raw = raw_log(price=["19.9", ""], user=["u1", 'u"2'], tags=["a|b", ""])
    examples = [
        example(price=[0.1], user=["u3"], tags=["c", "d"], request=["r7"]),
        example(user=[4], request=["r8"]),
    ]
    write_logs(folder / "x.tfrecord", raw, regress_log(examples, [0.75, 0.125]))
    return folder


def test_rows_without_labels_are_written_as_the_log_has_them(logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    result = collect(CollectCommand(logs, model, tmp_path / "rows.csv"))
    assert str(result) == "Collected 4 rows of 2 requests"
    assert (tmp_path / "rows.csv").read_text() == (
        "price,user,tags,probability\n"
        '19.9,u1,a|b,0.5\n,"u""2",,0.25\n0.1,u3,c|d,0.75\n,4,,0.125\n'
    )


def test_labels_join_by_features_that_the_model_ignores(logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    labels = tmp_path / "labels.csv"
    labels.write_text("request,bought\nr8,1\nr9,0\n")
    command = CollectCommand(logs, model.parent, tmp_path / "rows.csv", labels)
    result = collect(command)
    assert str(result) == ("Collected 1 rows of 2 requests; 3 rows have no label")
    rows = (tmp_path / "rows.csv").read_text()
    assert rows == "bought,price,user,tags,probability\n1,,4,,0.125\n"


def test_missing_values_of_a_key_are_equal_unless_all_are_missing(logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    labels = tmp_path / "labels.csv"
    labels.write_text("price,tags,bought\n19.9,a|b,1\n,,0\n0.1,,1\n")
    write_logs(
        logs / "y.tfrecord", raw_log((0.5,), price=["0.1"], user=[""], tags=[""])
    )
    collect(CollectCommand(logs, model, tmp_path / "rows.csv", labels))
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows[1:] == ["1,19.9,u1,a|b,0.5", "1,0.1,,,0.5"]


def test_labels_join_by_several_columns_of_the_log(logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    labels = tmp_path / "labels.parquet"
    table = {"price": ["19.9", "0.1"], "user": ["u1", "u1"], "bought": [True, False]}
    pl.DataFrame(table).write_parquet(labels)
    collect(CollectCommand(logs, model, tmp_path / "rows.csv", labels))
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows[1:] == ["true,19.9,u1,a|b,0.5"]


def test_the_time_of_the_request_is_the_time_of_a_row(logs, tmp_path):
    columns = replace(SHOP, days_by=DaysBy("time", "time"))
    model = save_schema(tmp_path, columns)
    labels = tmp_path / "labels.csv"
    labels.write_text("user,bought\nu1,1\nu3,0\n")
    collect(CollectCommand(logs, model, tmp_path / "rows.csv", labels))
    first = (tmp_path / "rows.csv").read_text().splitlines()[1]
    assert first == "1,2024-05-01T12:04:05Z,19.9,u1,a|b,0.5"


def test_a_log_of_lists_is_parquet(tmp_path):
    columns = Columns(
        "bought", (), ("user",), ("tags",), separators=(None,), format="parquet"
    )
    model = save_schema(tmp_path, columns)
    log = raw_log(user=["u1", "u2"], tags=[["a", "b"], ["c", ""]])
    requests = write_logs(tmp_path / "x.tfrecord", log)
    with pytest.raises(
        InputError, match=r"the model's log is Parquet: expected a name"
    ):
        collect(CollectCommand(requests, model, tmp_path / "rows.csv"))
    collect(CollectCommand(requests, model, tmp_path / "rows.parquet"))
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    assert rows["tags"].to_list() == [["a", "b"], ["c"]]
    assert rows["probability"].to_list() == [0.5, 0.25]


def test_derived_features_are_not_collected_but_their_columns(tmp_path):
    recipes = {
        "price_missing": {"column": "price", "transform": {"name": "is_missing"}},
        "age_bucket": {"column": "age", "transform": {"name": "log2_squared"}},
    }
    dense = ("price", "price_missing")
    columns = Columns("y", dense, ("user", "age_bucket"), recipes=recipes)
    version = save_schema(tmp_path, columns)
    raw = raw_log(price=["9.5", ""], age=["41", "7"], user=["u1", "u2"])
    path = write_logs(tmp_path / "x.tfrecord", raw)
    collect(CollectCommand(path, version, tmp_path / "log.csv"))
    head, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert head.startswith("price,age,user,") and rows[0].startswith("9.5,41,u1,")


@pytest.mark.parametrize("has_labels", [True, False])
def test_rows_of_criteo_have_no_head_line(tmp_path, has_labels):
    criteo = Columns.criteo()
    model = save_schema(tmp_path, criteo)
    texts = {name: [f"{number}"] for number, name in enumerate(criteo.dense_features)}
    texts |= {name: [f"{number:08x}"] for number, name in enumerate(criteo.single_hot)}
    requests = write_logs(tmp_path / "x.tfrecord", raw_log((0.5,), **texts))
    labels = tmp_path / "labels.csv"
    labels.write_text("C1,label\n00000000,1\n")
    command = CollectCommand(requests, model, tmp_path / "rows.tsv")
    collect(replace(command, labels=labels) if has_labels else command)
    values = [text for (text,) in texts.values()]
    expected = "\t".join(["1", *values] if has_labels else values) + "\n"
    assert (tmp_path / "rows.tsv").read_text() == expected


def test_a_request_that_did_not_ask_for_the_probability_has_none(tmp_path):
    model = save_schema(tmp_path, SHOP)
    log = raw_log(price=["1"], user=["u1"], tags=["a"])
    log.predict_log.response.outputs.clear()
    requests = write_logs(tmp_path / "x.tfrecord", log)
    collect(CollectCommand(requests, model, tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text().splitlines()[1] == "1,u1,a,"


def test_features_of_one_column_are_one_column_of_the_log(tmp_path):
    recipes = {
        "price": {"column": "price", "transform": {"name": "standardize"}},
        "level": {"column": "price", "transform": {"name": "log2_squared"}},
    }
    columns = Columns("bought", ("price",), ("user", "level"), recipes=recipes)
    model = save_schema(tmp_path, columns)
    requests = write_logs(
        tmp_path / "x.tfrecord", raw_log(price=["1", ""], user=["a", "b"])
    )
    collect(CollectCommand(requests, model, tmp_path / "rows.csv"))
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines == ["price,user,probability", "1,a,0.5", ",b,0.25"]


def test_requests_without_raw_rows_are_counted(logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    ids = raw_log(price=["1"], user=["2"], tags=["3"])
    ids.predict_log.request.inputs["user"].dtype = 9
    run = PredictionLog()
    run.session_run_log.SetInParent()
    write_logs(logs / "y.tfrecord", ids, run)
    result = collect(CollectCommand(logs, model, tmp_path / "rows.csv"))
    assert str(result) == (
        "Collected 4 rows of 4 requests; 2 requests hold ids or other columns, not raw "
        "rows of this model"
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            "user,buyed\nu1,1\n",
            "has the columns user, buyed, expected the label",
        ),
        ("bought\n1\n", "one or more columns that say which rows it is for$"),
        ("user,bought\nu1,1\nu1,0\n", "has several labels for user 'u1', expected one"),
        ("user,bought\nu9,1\n", "no row to write. Collected 0 rows of 2 requests; 4"),
        (
            "user,id,bought\nu1,7,1\n",
            "no label; no request has a value of id, a column of the labels",
        ),
        ("", "cannot be read: empty CSV; expected a CSV or Parquet file of labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message, logs, tmp_path):
    model = save_schema(tmp_path, SHOP)
    (tmp_path / "labels.csv").write_text(labels)
    output = tmp_path / "rows.csv"
    with pytest.raises(InputError, match=message):
        collect(CollectCommand(logs, model, output, tmp_path / "labels.csv"))
    assert not output.exists()


def test_files_that_hold_no_requests_are_refused(tmp_path):
    model = save_schema(tmp_path, SHOP)
    output = tmp_path / "rows.csv"
    contents = b"\xff\xff no message"
    file = tmp_path / "x.tfrecord"
    frame = record_header(len(contents)) + contents + record_footer(contents)
    file.write_bytes(frame)
    with pytest.raises(InputError, match=r"record 0: .*; expected a PredictionLog, as"):
        collect(CollectCommand(file, model, output))
    file.write_bytes(frame[:-1])
    with pytest.raises(InputError, match="a whole record: the file is damaged, or no"):
        collect(CollectCommand(file, model, output))
    write_logs(file, PredictionLog())
    with pytest.raises(InputError, match=r"record 0: it has no request; expected a"):
        collect(CollectCommand(file, model, output))
    with pytest.raises(InputError, match=r"has no file that ends in \.tfrecord"):
        collect(CollectCommand(tmp_path / "model", model, output))
    with pytest.raises(InputError, match="holds no model of this project"):
        collect(CollectCommand(file, tmp_path / "logs", output))


@pytest.mark.slow
def test_collected_rows_are_evaluated_and_prepared(tmp_path, capsys):
    make_shop(tmp_path)
    week = pl.read_csv(tmp_path / "week2.csv", infer_schema=False)
    logging = RequestLogging(1.0, f"{tmp_path}/logs/")
    settings = ModelSettings("shop", tmp_path / "model", logging=logging)
    with embedded(ServerSettings([settings])) as server:
        url = f"{server.url}/v1/models/shop:predict"
        for rows in week.drop("bought").iter_slices(500):
            inputs = rows.to_dict(as_series=False)
            assert post(url, {"signature_name": "raw", "inputs": inputs})[0] == 200
    labels, collected = tmp_path / "labels.csv", tmp_path / "collected.csv"
    keys = ["country", "price"]
    known = week.unique(keys, maintain_order=True)
    known.select("bought", *keys).write_csv(labels)
    collect(CollectCommand(tmp_path / "logs", tmp_path / "model", collected, labels))
    joined = week.drop("bought").join(known, on=keys, maintain_order="left")
    joined.write_csv(tmp_path / "log.csv")
    measures = []
    for log in (tmp_path / "log.csv", collected):
        output = tmp_path / "measures.json"
        evaluate_model(EvaluateCommand(tmp_path / "model", raw=log, output_file=output))
        measures.append(json.loads(output.read_text())["raw"])
    assert measures[0] == measures[1]
    config = PrepareConfig(columns=tmp_path / "same.yaml", min_frequency=1)
    prepare([collected], tmp_path / "next", config)
    assert "1,500 rows" in capsys.readouterr().out
