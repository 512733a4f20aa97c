import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.prepare import prepare
from tests.support.processes import ROOT, run_command_line
from tfdlrm.base.command_line import parse, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.base.figure_style import COLOURS
from tfdlrm.compare import CompareCommand, compare
from tfdlrm.comparison.curve_pictures import CURVE_PICTURES
from tfdlrm.comparison.description import describe_training
from tfdlrm.comparison.page import page_of
from tfdlrm.comparison.report import write_comparison
from tfdlrm.comparison.runs import (
    FinishedRun,
    Spread,
    _samples_per_second,
    indistinguishable,
)
from tfdlrm.comparison.verdict import verdict_of
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import binary_metrics

COMMAND = (
    "python -m tfdlrm.compare --models logistic_regression,dlrm --optimizers adagrad "
    "--learning_rates 0.01,0.05 --batch_size 64 --evaluations_per_epoch 2 "
    "--output compared --data_dir "
)


def finished_run(command, model="dlrm", auc=0.8, seed=0):
    config = command.train_config(model, "sgd", 0.1, seed)
    point = {"loss": 0.5, "auc": auc, "seconds": 1.0}
    return FinishedRun(
        config=config,
        parameters=10,
        peak_memory=10**9,
        samples_per_second=1000.0,
        metrics={
            "test": {
                "auc": auc,
                "log_loss": 0.5,
                "normalized_entropy": 0.9,
                "accuracy": 0.7,
            }
        },
        curves=[
            {**point, "step": step, "split": split, "accuracy": 0.5 + step / 100}
            for step in (5, 10)
            for split in ("train", "validation")
        ],
    )


@pytest.fixture
def command(tmp_path):
    return CompareCommand(tmp_path / "data", output=tmp_path)


def test_mean_and_deviation_are_over_seeds():
    spread = Spread.of([0.5, 0.7, 0.9])
    assert (spread.mean, spread.deviation) == pytest.approx((0.7, 0.2))
    assert f"{spread:.2f}" == "0.70 ± 0.20"
    assert f"{Spread.of([0.5]):.2f}" == "0.50"


@pytest.mark.parametrize(
    ("deviation", "names"), [(0.001, ["a"]), (0.02, ["a", "b"]), (None, ["a", "b"])]
)
def test_only_what_the_spread_distinguishes_is_ranked(deviation, names):
    spreads = {"b": Spread(0.77, deviation), "a": Spread(0.8, deviation)}
    assert indistinguishable(spreads, highest=True) == names


@pytest.mark.usefixtures("pictures")
def test_the_page_holds_table_figures_and_verdict(command, tmp_path):
    contenders = [
        [finished_run(command, "dlrm", 0.80 + seed / 1e3, seed) for seed in (0, 1)],
        [finished_run(command, "dcn", 0.70 + seed / 1e3, seed) for seed in (0, 1)],
    ]
    page = write_comparison(tmp_path, contenders, 2, "On <rows>.").read_text()
    assert '<td data-name="model, optimizer">dlrm, sgd</td>' in page
    assert "0.8005 ± 0.0007" in page
    assert "On &lt;rows&gt;." in page
    assert "By AUC dlrm, sgd is ahead of all others" in page
    assert "src=" not in page and "url(http" not in page  # it needs no other file
    assert page.count("<svg") == 3
    contenders_json = json.loads((tmp_path / "report.json").read_text())
    assert [len(contender["runs"]) for contender in contenders_json] == [2, 2]
    report = (tmp_path / "report.md").read_text()
    assert "| dcn, sgd | 0.1 | 2 | 0.7005 ± 0.0007 |" in report
    for name in ("auc.png", "loss.png", "accuracy.png"):
        assert f"]({name})" in report
        assert (tmp_path / name).stat().st_size


def scored_runs(command, noises, num_rows):
    """Return labels, and two seeds of models that see them through so much noise."""
    rng = np.random.default_rng(0)
    labels = (rng.random(num_rows) < 0.5).astype(float)
    contenders = []
    for name, noise in noises.items():
        runs = []
        for seed in (0, 1):
            scores = labels + rng.normal(0, noise, num_rows)
            run = finished_run(command, name, roc_auc_score(labels, scores), seed)
            runs.append(dataclasses.replace(run, scores=scores))
        contenders.append(runs)
    return labels, contenders


def test_a_lead_beyond_the_spread_may_be_chance_of_the_rows(command):
    labels, contenders = scored_runs(command, {"dlrm": 0.9, "dcn": 1.1}, 60)
    means = [
        np.mean([run.metrics["test"]["auc"] for run in runs]) for runs in contenders
    ]
    for runs, mean in zip(contenders, means, strict=True):  # seeds that agree
        for run in runs:
            run.metrics["test"]["auc"] = mean
    verdict = verdict_of(contenders, 2, labels)
    best = contenders[int(np.argmax(means))][0].label
    assert f"By AUC {best} is ahead of " in verdict
    assert "not by more than chance in the 60 test rows explains" in verdict
    assert "all others" not in verdict
    lead = f"({abs(means[0] - means[1]):.4f}, 95% interval -"
    assert lead in verdict


def test_a_lead_beyond_spread_and_chance_is_one(command):
    labels, contenders = scored_runs(command, {"dlrm": 0.3, "dcn": 2.0}, 2000)
    verdict = verdict_of(contenders, 2, labels)
    assert "By AUC dlrm, sgd is ahead of all others by more than the spread" in verdict
    assert "by more than chance in the 2,000 test rows explains" in verdict
    assert "its lead over dcn, sgd is 0." in verdict


def test_without_scores_the_chance_of_the_rows_is_not_known(command):
    _, contenders = scored_runs(command, {"dlrm": 0.3, "dcn": 2.0}, 2000)
    assert "what chance in the test rows explains is not" in verdict_of(contenders, 2)


def test_speed_counts_the_steps_that_were_done(data_dir):
    schema = FeatureSchema.load(data_dir)
    config = TrainConfig(epochs=50, batch_size=100, early_stopping=1)
    curves = [
        {"step": step, "split": "train", "seconds": step / 10} for step in (1, 2, 3)
    ]
    num_rows = schema.num_rows("train")
    expected = 10 * num_rows / -(-num_rows // 100)
    assert _samples_per_second(curves, config, schema) == pytest.approx(expected)


def test_simple_models_are_rows_of_the_table(command, tmp_path):
    contenders = [[finished_run(command, "dlrm", 0.8)]]
    values = binary_metrics(np.array([0, 1]), np.array([0.2, 0.8]))
    baselines = {"best column (a|b<c>)": values}
    page = write_comparison(tmp_path, contenders, 1, "", baselines).read_text()
    assert ">best column (a|b&lt;c&gt;)<" in page
    report = (tmp_path / "report.md").read_text()
    row = r"| best column \(a\|b\<c\>\) | - | - | 1.0000 | 0.2231 | 0.3219 | 1.0000 |"
    assert row in report


def test_a_report_of_other_models_is_not_replaced(data_dir, tmp_path):
    command = CompareCommand(data_dir, ("dlrm",), ("sgd",), output=tmp_path / "out")
    compared = [[finished_run(command)], [finished_run(command, "dcn")]]
    command.output.mkdir()
    write_comparison(command.output, compared, 1, "")
    written = (command.output / "report.json").read_text()
    with pytest.raises(InputError, match=r"report\.json also compares dcn, sgd: add"):
        compare(command)
    assert (command.output / "report.json").read_text() == written


def test_one_seed_makes_no_ranking(command, tmp_path):
    contenders = [
        [finished_run(command, "dlrm", 0.8)],
        [finished_run(command, "dcn", 0.7)],
    ]
    write_comparison(tmp_path, contenders, 1, "")
    assert "no ranking" in (tmp_path / "report.md").read_text()


def test_seeds_that_diverged_are_named_and_ranked_nowhere(command, tmp_path):
    complete = {name: [0.70, 0.71, 0.72] for name in ("dcn", "mlp")}
    contenders = [
        [finished_run(command, name, auc, seed) for seed, auc in enumerate(values)]
        for name, values in {"dlrm": [0.8, 0.81], **complete}.items()
    ]
    write_comparison(tmp_path, contenders, 3, "")
    report = (tmp_path / "report.md").read_text()
    assert "| dlrm, sgd | 0.1 | 2 of 3 | 0.8050 ± 0.0071 |" in report
    assert "over 3 seeds" in report
    assert "the ranking leaves out dlrm, sgd." in report
    assert "does not distinguish dcn, sgd and mlp, sgd" in report
    alone = write_comparison(tmp_path, contenders[1:2], 3, "").read_text()
    assert "ahead" not in alone


def test_rows_to_train_on_alone_are_refused_before_training(raw_file, tmp_path):
    held_out = PrepareConfig(validation_days=0, test_days=0)
    prepare([raw_file], tmp_path / "data", held_out)
    one_rate = CompareCommand(tmp_path / "data", learning_rates=(0.1,))
    with pytest.raises(InputError, match="holds out no rows"):
        compare(one_rate)


def test_a_run_that_diverged_with_other_settings_is_not_taken(data_dir, tmp_path):
    command = CompareCommand(
        data_dir, ("dlrm",), ("sgd",), (0.1,), output=tmp_path / "compared"
    )
    config = command.train_config("dlrm", "sgd", 0.1, 0)
    config.run_dir.parent.mkdir(parents=True)
    config.run_dir.with_name("dlrm-sgd-0.1-0.yaml").write_text(to_yaml(config))
    config.run_dir.with_name("dlrm-sgd-0.1-0.diverged").write_text("the loss became")
    with pytest.raises(InputError, match="reached no finite loss"):
        compare(command)
    with pytest.raises(InputError, match="finished run with other settings"):
        compare(dataclasses.replace(command, batch_size=32))


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ("nosuch",)},
        {"models": ()},
        {"seeds": (1, 1)},
        {"seeds": (0, -1)},
        {"learning_rates": (-1.0,)},
        {"models": ("dlrm", "configs/dlrm.yaml")},
    ],
)
def test_settings_that_make_no_comparison_are_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="expected"):
        CompareCommand(tmp_path, **wrong)


def test_lists_are_written_with_commas_alone():
    argv = "--data_dir d --models dlrm,dcn --optimizers=sgd,adagrad --seeds 0,1"
    command = parse(CompareCommand, "tfdlrm.compare", argv.split())
    assert command.models == ("dlrm", "dcn")
    assert command.optimizers == ("sgd", "adagrad")
    assert command.seeds == (0, 1)


def settings_file(folder, name, text):
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


RECIPE = """
model: {name: fm, embedding_dim: 4}
optimizer: {name: lazy_adam, learning_rate: 0.02}
batch_size: 32
epochs: 3
evaluations_per_epoch: 1
early_stopping: 2
precision: mixed_bfloat16
data_dir: elsewhere
run_dir: elsewhere
"""


def test_dotted_settings_of_an_optimizer_count_as_one(tmp_path):
    text = "model: {name: fm}\noptimizer.learning_rate: 0.02"
    file = settings_file(tmp_path, "best", text)
    command = CompareCommand(tmp_path / "data", (file,), output=tmp_path)
    (own,) = command.contenders
    assert own.has_own_settings
    assert own.candidates[0].optimizer.learning_rate == 0.02


def test_a_file_with_an_optimizer_is_trained_with_all_its_settings(tmp_path):
    file = settings_file(tmp_path, "best", RECIPE)
    command = CompareCommand(tmp_path / "data", ("dlrm", file), output=tmp_path)
    named, _, own = command.contenders
    assert own.label == "best, lazy_adam"
    (config,) = own.candidates
    recipe = parse(TrainConfig, "tfdlrm.train", ["--config", file])
    run_dir = tmp_path / "runs" / "best-lazy_adam-0.02-0"
    assert config == dataclasses.replace(
        recipe,
        data_dir=tmp_path / "data",
        run_dir=run_dir,
        export_dir=run_dir / "export",
        checkpoints=dataclasses.replace(recipe.checkpoints, keep=1),
        baselines=False,
    )
    assert len(named.candidates) == 4
    assert {c.epochs for c in named.candidates} == {3}  # the same passes
    assert {c.batch_size for c in named.candidates} == {256}
    seed = command.with_seed(own, config, 7)
    assert (seed.seed, seed.run_dir.name) == (7, "best-lazy_adam-0.02-7")


def test_the_report_says_what_each_model_had(data_dir, tmp_path):
    file = settings_file(tmp_path, "best", RECIPE)
    command = CompareCommand(data_dir, ("dlrm", file), output=tmp_path)
    text = describe_training(command, FeatureSchema.load(data_dir))
    assert "3 epoch(s), batch sizes (dlrm 256, best 32), the same rows for all." in text
    assert "the best of 4 (0.003, 0.01, 0.03, 0.1) by validation log loss" in text
    assert "With all settings of a file, and no choice here: best." in text
    assert "With early stopping: best." in text


def test_with_optimizers_or_rates_a_file_gives_its_architecture_alone(tmp_path):
    file = settings_file(tmp_path, "best", RECIPE)
    for option in ({"optimizers": ("sgd",)}, {"learning_rates": (0.5,)}):
        command = CompareCommand(tmp_path, (file,), output=tmp_path, **option)
        config = command.contenders[0].candidates[0]
        assert config.model.embedding_dim == 4
        assert config.optimizer.name == "sgd"
        assert (config.batch_size, config.epochs) == (256, 1)
        assert config.early_stopping is None


def test_files_that_train_for_longer_are_compared_over_the_same_epochs_alone(tmp_path):
    files = (
        settings_file(tmp_path, "three", RECIPE),
        settings_file(tmp_path, "five", RECIPE.replace("epochs: 3", "epochs: 5")),
    )
    message = r"epochs is 3 in .*three\.yaml, 5 in .*five\.yaml: .*give --epochs N"
    with pytest.raises(InputError, match=message):
        CompareCommand(tmp_path, files)
    command = CompareCommand(tmp_path, files, epochs=2)
    assert {c.candidates[0].epochs for c in command.contenders} == {2}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("init_from: runs/a", "best.yaml: init_from is runs/a, expected none"),
        ("strategy: multi_worker", "best.yaml: strategy is multi_worker, expected"),
        ("optimizer: {learning_rate: -1}", "learning_rate is -1"),
        ("epoch: 3", "did you mean epochs"),
    ],
)
def test_files_that_make_no_comparison_are_refused(tmp_path, setting, message):
    text = "run_dir: r\ndata_dir: d\n" + setting
    if "optimizer" not in setting:
        text += "\noptimizer: {name: sgd}"
    with pytest.raises(InputError, match=re.escape(message)):
        CompareCommand(tmp_path, (settings_file(tmp_path, "best", text),))


def finish(run_dir, config):
    """Write the files of a finished run that a comparison reads."""
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text(to_yaml(config))
    (run_dir / "summary.json").write_text('{"parameters": 1, "peak_memory": 1}')
    point = {"step": 1, "split": "train", "accuracy": 0.5, "seconds": 1.0}
    (run_dir / "metrics.jsonl").write_text(json.dumps(point))
    measures = finished_run(CompareCommand(run_dir)).metrics["test"]
    (run_dir / "metrics.json").write_text(json.dumps({"validation": measures}))
    (run_dir / "report.md").touch()


@pytest.mark.slow
def test_runs_with_other_settings_or_rows_are_not_taken_for_these(data_dir, tmp_path):
    command = CompareCommand(
        data_dir, ("dlrm",), ("sgd",), (0.1,), output=tmp_path / "compared"
    )
    config = command.train_config("dlrm", "sgd", 0.1, 0)
    finish(config.run_dir, config)
    page = compare(command).read_text()
    assert "Learning rate: 0.1." in page
    assert "The model that drew the labels reaches AUC 0." in page
    with pytest.raises(InputError, match="finished run with other settings"):
        compare(dataclasses.replace(command, batch_size=32))
    (command.output / "data_set.txt").write_text("another")
    with pytest.raises(InputError, match="compares runs on another data set"):
        compare(command)


def test_a_learning_rate_is_chosen_by_validation_rows(command):
    run = finished_run(command)
    values = {**run.metrics["test"], "log_loss": 0.4}
    run = dataclasses.replace(run, metrics={**run.metrics, "validation": values})
    assert run.choice == 0.4
    assert run.split == "test"


@pytest.mark.slow
def test_models_are_compared_and_a_second_call_trains_nothing(data_dir, tmp_path):
    process = run_command_line(COMMAND + str(data_dir), cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(re.findall(r": training$", process.stdout, re.MULTILINE)) == 4
    report = (tmp_path / "compared" / "report.md").read_text()
    assert "logistic_regression, adagrad" in report
    contenders = json.loads((tmp_path / "compared" / "report.json").read_text())
    for contender in contenders:
        assert contender["runs"][0]["peak_memory"] > 10**8
        assert contender["parameters"] > 1000
    again = run_command_line(COMMAND + str(data_dir), cwd=tmp_path)
    assert again.returncode == 0
    assert "training" not in again.stdout
    assert (tmp_path / "compared" / "report.md").read_text() == report


def wait_until(is_so):
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_comparison_stops_its_run_and_goes_on(data_dir, tmp_path, how):
    options = f"--models dlrm --optimizers sgd --learning_rates 0.1 --batch_size 8 \
        --evaluations_per_epoch 200 --output {tmp_path} --data_dir {data_dir}"
    command = [sys.executable, "-m", "tfdlrm.compare", *options.split()]
    run = tmp_path / "runs" / "dlrm-sgd-0.1-0"
    curves = run / "metrics.jsonl"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: curves.is_file() and curves.read_text())
        process.send_signal(how)
        process.send_signal(how)  # as `timeout` does
    assert process.returncode == (143 if how == signal.SIGTERM else -how)
    wait_until(lambda: [*run.glob("checkpoints/step-*")])
    assert not (run / "report.md").exists()
    time.sleep(2)  # until the training of the killed one has left its directory
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    log = run.with_name(f"{run.name}.log").read_text()
    assert "Going on after step" in log
    assert (tmp_path / "report.html").is_file()


def test_a_data_set_or_a_run_takes_no_comparison(data_dir, tmp_path):
    (tmp_path / "config.yaml").touch()
    for output in (data_dir, tmp_path):
        old_names = {path.name for path in output.iterdir()}
        with pytest.raises(InputError, match=r"has a .*: it is a data set, a run"):
            compare(CompareCommand(data_dir, output=output))
        assert {path.name for path in output.iterdir()} == old_names


def test_curves_take_the_colours_and_the_text_of_the_page(command):
    contenders = [[finished_run(command, name)] for name in ("dlrm", "dcn", "mlp")]
    svg = CURVE_PICTURES[0].as_part_of_a_page(contenders)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label").startswith("AUC over training steps")
    assert ">dcn, sgd</text>" in svg  # text, not outlines of letters
    for number in range(3):
        assert svg.count(f"stroke: var(--curve-{number})") >= 2  # a line a split
    style = page_of(contenders, "", "", [], [], "").partition("</style>")[0]
    for number in range(len(COLOURS)):
        assert style.count(f"--curve-{number}:") == 2  # light and dark
    assert not set(re.findall(r"#[0-9a-f]{6}", svg)) - {"#b0b0b0", "#808080"}


def test_each_curve_is_drawn_over_its_own_measure(command):
    contenders = [[finished_run(command)]]
    for picture in CURVE_PICTURES:
        (axis,) = picture.draw(contenders).axes
        train, validation = axis.lines
        points = [p for p in contenders[0][0].curves if p["split"] == "train"]
        assert list(train.get_ydata()) == [p[picture.measure] for p in points]
        assert (train.get_linestyle(), validation.get_linestyle()) == ("-", "--")


def test_more_models_than_colours_have_markers(command):
    contenders = [[finished_run(command)]] * (len(COLOURS) + 1)
    (axis,) = CURVE_PICTURES[0].draw(contenders).axes
    looks = {(line.get_color(), line.get_marker()) for line in axis.lines}
    assert len(looks) == len(contenders)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_a_click_on_a_heading_sorts_the_table_and_another_one_turns_it(
    command, tmp_path
):
    contenders = [
        [finished_run(command, name, auc)]
        for name, auc in (("mlp", 0.7), ("dcn", 0.9), ("fm", 0.8))
    ]
    page = write_comparison(tmp_path, contenders, 1, "")
    clicked = tmp_path / "clicked.html"
    for clicks, order in (
        ("head(3)", ["dcn", "fm", "mlp"]),
        ("head(3), head(3)", ["mlp", "fm", "dcn"]),
        ("head(0)", ["dcn", "fm", "mlp"]),
    ):
        script = "const head = n => document.querySelectorAll('th button')[n].click()"
        text = page.read_text() + f"<script>{script}; {clicks}</script>"
        clicked.write_text(text)
        dom = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--dump-dom", clicked.as_uri()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.findall(r'optimizer">(\w+), sgd</td>', dom) == order


def test_a_legend_of_many_models_leaves_the_curves_their_room(command):
    contenders = [[finished_run(command)]] * 30
    figure = CURVE_PICTURES[0].draw(contenders)
    figure.draw_without_rendering()
    _, height = figure.axes[0].get_window_extent().size
    assert height > 2 * figure.dpi  # inches
