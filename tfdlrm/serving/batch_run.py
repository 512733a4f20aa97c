"""One run of a model, which answers one request or several together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfdlrm.serving.errors import ServingError, from_tensorflow
from tfdlrm.serving.servable import Arrays, Signature


@dataclass(eq=False)
class Task:
    """A request that waits for a run.

    Args:
        inputs: Checked inputs.
        rows: Number of rows in them.
        future: Future of the outputs, which belongs to the event loop.
        start: Time of arrival, by the performance counter.
    """

    inputs: Arrays
    rows: int
    future: "asyncio.Future[Arrays]"
    start: float = field(default_factory=time.perf_counter)


def run_tasks(
    signature: Signature,
    tasks: Sequence[Task],
    is_shared: bool,
    pad: Callable[[int], int],
) -> list[Arrays | ServingError]:
    """Run requests, and return for each its outputs or the reason why it has none.

    Args:
        signature: Function to run.
        tasks: Requests of that function, with rows of the same shapes.
        is_shared: Whether requests may share a run; otherwise there is one.
        pad: Function from a number of rows to the number that a run is padded to.
    """
    try:
        if not is_shared:
            return [signature.run(*tasks[0].inputs)]
        return _run_together(signature, tasks, pad)
    # Any error is due to this model or these inputs; other requests go on.
    except Exception as error:
        if len(tasks) == 1:
            return [from_tensorflow(error)]
    # Perhaps only one request is at fault: run each of them by itself.
    return [run_tasks(signature, [task], is_shared, pad)[0] for task in tasks]


def _run_together(
    signature: Signature, tasks: Sequence[Task], pad: Callable[[int], int]
) -> list[Arrays | ServingError]:
    rows = sum(task.rows for task in tasks)
    inputs = tasks[0].inputs
    if len(tasks) > 1:
        parts = zip(*(task.inputs for task in tasks), strict=True)
        inputs = [np.concatenate(part) for part in parts]
    num_padding = pad(rows) - rows
    if num_padding:
        inputs = [
            np.concatenate([array, np.repeat(array[:1], num_padding, 0)])
            for array in inputs
        ]
    outputs = signature.run(*inputs)
    if len(tasks) == 1 and not num_padding:
        return [outputs]  # with any number of rows
    for spec, output in zip(signature.fetched, outputs, strict=True):
        if len(output) != rows + num_padding:
            raise ValueError(
                f"output {spec} has {len(output)} rows for {rows + num_padding}"
            )
    answers: list[Arrays | ServingError] = []
    begin = 0
    for task in tasks:
        end = begin + task.rows
        answers.append([output[begin:end] for output in outputs])
        begin = end
    return answers


def deliver(tasks: Sequence[Task], answers: Sequence[Arrays | ServingError]) -> None:
    """Hand each request its answer; call this in the event loop."""
    for task, answer in zip(tasks, answers, strict=True):
        if task.future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, ServingError):
            task.future.set_exception(answer)
        else:
            task.future.set_result(answer)
