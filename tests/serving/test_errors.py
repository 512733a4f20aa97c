"""The line of TensorFlow's message that a client gets."""

import grpc
import pytest
import tensorflow as tf

from tfdlrm.serving.errors import from_tensorflow

ROOTS = """2 root error(s) found.
  (0) INVALID_ARGUMENT: StringToNumberOp could not correctly convert string: p
\t [[{{node StringToNumber}}]]
\t [[Identity/_3]]
  (1) INVALID_ARGUMENT: StringToNumberOp could not correctly convert string: q
\t [[{{node StringToNumber_1}}]]
0 successful operations.
0 derived errors ignored."""

TRACE = """Graph execution error:

Detected at node StringToNumber_1 defined at (most recent call last):
  File "/home/me/train.py", line 26, in <module>

  File "/home/me/train.py", line 23, in f

StringToNumberOp could not correctly convert string: q
\t [[{{node StringToNumber_1}}]] [Op:__inference_f_435]"""

OLD_TRACE = """Graph execution error:

Detected at node 'Assert' defined at (most recent call last):
    File "train.py", line 1, in f
      tf.debugging.assert_all_finite(x)
Node: 'Assert'
x is not finite : Tensor had NaN values [[{{node Assert}}]] [Op:__inference_f_435]"""


ON_TWO_DEVICES = """2 root error(s) found.
  (0) CANCELLED: Function was cancelled before it was started
\t [[{{node Assert}}]]
  (1) INVALID_ARGUMENT:  assertion failed: [I4 of row 1 is `inf`]
\t [[{{node Assert}}]]
0 successful operations.
0 derived errors ignored. [Op:__inference_f_435]"""

EAGER = (
    "{{function_node __wrapped__Add_device_/job:localhost/replica:0/task:0/device:"
    "GPU:0}} Incompatible shapes: [2] vs. [3] [Op:AddV2]"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROOTS, "StringToNumberOp could not correctly convert string: p"),
        (TRACE, "StringToNumberOp could not correctly convert string: q"),
        (OLD_TRACE, "x is not finite : Tensor had NaN values"),
        (f"Graph execution error:\n\n{ROOTS}", "convert string: p"),
        (ON_TWO_DEVICES, "assertion failed: [I4 of row 1 is `inf`]"),
        (EAGER, "Incompatible shapes: [2] vs. [3]"),
        ("Graph execution error:", "Graph execution error:"),
        ("x : had NaN\n\t [[{{node x}}]]", "x : had NaN"),
        ("", "InvalidArgumentError"),
    ],
    ids=[
        *("several", "trace", "old trace", "both", "two devices", "eager"),
        *("nothing else", "plain", "empty"),
    ],
)
def test_the_reason_is_told_and_not_what_stands_around_it(text, message):
    error = from_tensorflow(tf.errors.InvalidArgumentError(None, None, text))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.message.endswith(message) and "\n" not in error.message


def test_the_status_is_that_of_the_reason():
    error = tf.errors.CancelledError(None, None, ON_TWO_DEVICES)
    assert from_tensorflow(error).code == grpc.StatusCode.INVALID_ARGUMENT
    error = tf.errors.CancelledError(None, None, "Step was cancelled")
    assert from_tensorflow(error).code == grpc.StatusCode.CANCELLED
    assert from_tensorflow(ValueError("x")).code == grpc.StatusCode.INTERNAL


def test_what_tensorflow_says_today_has_its_reason():
    @tf.function
    def convert(a, b):
        return tf.strings.to_number(a), tf.strings.to_number(b)

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        convert(tf.constant(["p"]), tf.constant(["q"]))
    assert "Graph execution error" in caught.value.message
    message = from_tensorflow(caught.value).message
    assert message.startswith("StringToNumberOp could not correctly convert string: ")
