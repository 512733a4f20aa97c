"""Every row of the table of Keras' features in docs/reuse.md has its tests."""

import ast
import re

import pytest

from tests.support.processes import ROOT

EXPORT = "exporting/test_keras_export.py"
FEATURES = "models/test_keras_features.py"
INPUTS = "models/test_click_inputs.py"
NORMALIZATION = "layers/test_batch_normalization.py"
COLUMNS = "layers/test_columns_of_ids.py"
CLIPPING = "optimizers/test_clipping_and_sums.py"
STRATEGIES = "optimizers/test_strategies.py"
OPTIMIZERS = "optimizers/test_optimizers.py"

TESTS = {
    "`fit`, `evaluate`, `predict`": [
        (EXPORT, "test_keras_predicts_from_every_kind_of_input"),
        (INPUTS, "test_columns_of_a_frame_are_ids"),
    ],
    "`train_on_batch`, `test_on_batch`": [
        (FEATURES, "test_a_batch_at_a_time_trains_alike_under_a_strategy")
    ],
    "inputs of another form": [
        (INPUTS, "test_every_method_of_keras_has_the_clear_error"),
        (INPUTS, "test_training_goes_on_once_the_inputs_are_right"),
    ],
    "`StringLookup`, `Hashing`, `FeatureSpace`": [
        ("docs/test_site.py", "test_the_python_of_a_page_runs")
    ],
    "`embeddings_initializer`": [
        (COLUMNS, "test_initializers_draw_each_table_by_itself")
    ],
    "`embeddings_regularizer`": [
        (COLUMNS, "test_the_regularizer_counts_each_row_of_the_batch_once")
    ],
    "`model.summary`": [(FEATURES, "test_every_model_is_saved_whole_and_summed_up")],
    "`clone_model`, `get_config`": [
        (EXPORT, "test_models_come_back_from_their_settings_and_weights")
    ],
    "`model.save` to `.keras`": [
        (FEATURES, "test_every_model_is_saved_whole_and_summed_up")
    ],
    "`model.save` to `.h5`": [(FEATURES, "test_every_model_is_saved_in_hdf5")],
    "`save_weights` to `.weights.h5`": [
        (EXPORT, "test_models_come_back_from_their_settings_and_weights")
    ],
    "`model.export`, `tf.saved_model.save`": [
        (EXPORT, "test_a_model_that_was_called_is_exported"),
        (EXPORT, "test_every_way_of_keras_and_tensorflow"),
        (EXPORT, "test_the_default_signature_names_its_inputs"),
    ],
    "`model.export` to ONNX": [(EXPORT, "test_keras_writes_onnx_with_integers")],
    '`quantize("int8")`': [
        (FEATURES, "test_a_quantized_model_is_smaller_scores_alike_and_is_saved"),
        (FEATURES, "test_a_table_has_8_bits_and_a_scale_a_row"),
    ],
    "`quantize` in other modes": [(FEATURES, "test_what_cannot_be_quantized_is_said")],
    "`clipnorm`, `global_clipnorm`, `clipvalue`": [
        (CLIPPING, "test_clipping_needs_the_summed_rows_only"),
        (CLIPPING, "test_two_devices_clip_the_gradient_of_the_whole_batch"),
    ],
    "`gradient_accumulation_steps`": [
        (CLIPPING, "test_accumulated_gradients_are_exact_sums"),
        (CLIPPING, "test_what_needs_all_gradients_in_one_place_is_refused_on_several"),
    ],
    "`loss_scale_factor`, `LossScaleOptimizer`": [
        (CLIPPING, "test_a_scaled_loss_is_divided_out_of_the_rows")
    ],
    "`weight_decay`, `use_ema`": [
        (CLIPPING, "test_what_changes_rows_outside_a_batch_is_refused_with_advice")
    ],
    "`steps_per_execution`, `run_eagerly`": [
        (OPTIMIZERS, "test_several_steps_in_one_execution_change_nothing"),
        ("models/test_click_model.py", "test_eager_steps_are_eager_and_compiling_anew"),
    ],
    "mixed precision": [
        (OPTIMIZERS, "test_mixed_precision_keeps_weights_and_state_in_float32")
    ],
    '`MLP(…, normalization="batch")`': [
        ("layers/test_backends.py", "test_the_layers_work_on_other_backends"),
        (NORMALIZATION, "test_a_frozen_layer_changes_nothing"),
        (NORMALIZATION, "test_two_replicas_use_the_statistics_of_all_rows"),
    ],
    "`jit_compile=True`": [
        (STRATEGIES, "test_xla_that_is_asked_for_is_left_out_with_a_word")
    ],
    "`MirroredStrategy`": [
        (FEATURES, "test_models_of_two_strategies_do_not_mix_up_their_collectives"),
        (OPTIMIZERS, "test_two_devices_train_as_one_does"),
    ],
    "`OneDeviceStrategy`, `CentralStorageStrategy`": [
        (STRATEGIES, "test_a_strategy_changes_no_number")
    ],
    "`ParameterServerStrategy`": [(STRATEGIES, "test_parameter_servers_are_refused")],
}


def rows_of_the_table():
    page = (ROOT / "docs" / "reuse.md").read_text("utf-8")
    table = page.partition("## What works of Keras")[2].partition("## Strategies")[0]
    rows = re.findall(r"^\| (.*?) \| .* \|$", table, re.MULTILINE)
    return [row for row in rows if row != "Keras"]


def test_every_row_of_the_table_has_tests():
    assert rows_of_the_table() == list(TESTS)


@pytest.mark.parametrize("row", TESTS)
def test_the_tests_of_a_row_are_there(row):
    for path, name in TESTS[row]:
        tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
        functions = [node.name for node in tree.body if hasattr(node, "name")]
        assert any(function.startswith(name) for function in functions), name
