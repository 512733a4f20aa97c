"""Requests that share a run of the model, and those that cannot."""

import asyncio
import math
import os
from dataclasses import replace
from threading import Barrier

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tests.support.served_model import save_kinds
from tfdlrm.serving.batching import PART_ROWS, Batcher, BatchingParameters
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.servable import Servable


def test_the_queue_has_an_end(tmp_path):
    servable = Servable("kinds", 1, save_kinds(tmp_path / "1"))
    signature = servable.signature("logarithm")
    parameters = BatchingParameters(max_batch_size=4, max_enqueued_batches=2)

    async def fill():
        batcher = Batcher(parameters, True, lambda *_: None, lambda *_: None)
        values = [np.ones(1, np.float32)]
        futures = [batcher.submit(signature, values, 1) for _ in range(8)]
        with pytest.raises(ServingError) as caught:
            batcher.submit(signature, values, 1)
        assert caught.value.code == grpc.StatusCode.UNAVAILABLE
        answers = await asyncio.gather(*futures)
        assert [float(answer[0][0]) for answer in answers] == [math.log(1)] * 8
        await batcher.close()

    asyncio.run(fill())


def distinct_signature(path):
    """Return a signature whose answer has fewer rows than the request."""
    module = tf.Module()
    module.distinct = tf.function(
        lambda ids: {"distinct": tf.unique(ids).y},
        input_signature=[tf.TensorSpec([None], tf.int64, name="ids")],
    )
    tf.saved_model.save(module, path, signatures=module.distinct)
    return Servable("distinct", 1, path).signature("")


def test_a_lone_request_gets_as_many_rows_as_the_model_likes(tmp_path):
    signature = distinct_signature(tmp_path / "1")

    async def ask():
        # Requests that cannot share a run do not wait for others.
        patient = BatchingParameters(batch_timeout_micros=10**9)
        for parameters, is_enabled in ((BatchingParameters(), True), (patient, False)):
            batcher = Batcher(parameters, is_enabled, lambda *_: None, lambda *_: None)
            answer = batcher.submit(signature, [np.array([7, 7, 2])], 3)
            (ids,) = await asyncio.wait_for(answer, 30)
            assert ids.tolist() == [7, 2]
            await batcher.close()

    asyncio.run(ask())


def test_without_batching_requests_run_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    servable = Servable("kinds", 1, save_kinds(tmp_path / "1"))
    together = Barrier(2, timeout=30)
    signature = replace(
        servable.signature("logarithm"),
        run=lambda values: (together.wait(), [np.log(values)])[1],
    )

    async def ask():
        parameters = BatchingParameters(num_batch_threads=1)
        batcher = Batcher(parameters, False, lambda *_: None, lambda *_: None)
        futures = [batcher.submit(signature, [np.ones(1)], 1) for _ in range(2)]
        assert await asyncio.gather(*futures) == [[np.zeros(1)]] * 2
        await batcher.close()

    asyncio.run(ask())


def test_a_full_batch_does_not_wait_for_its_time(tmp_path):
    servable = Servable("kinds", 1, save_kinds(tmp_path / "1"))
    signature = servable.signature("logarithm")
    parameters = BatchingParameters(max_batch_size=3, batch_timeout_micros=10**9)
    runs = []

    async def fill():
        batcher = Batcher(
            parameters, True, lambda *_: None, lambda *it: runs.append(it)
        )
        futures = [batcher.submit(signature, [np.ones(1, np.float32)], 1)]
        await asyncio.sleep(0.05)
        assert not runs and not futures[0].done()
        e = np.full(1, math.e, np.float32)
        futures += [batcher.submit(signature, [e], 1) for _ in range(2)]
        answers = await asyncio.wait_for(asyncio.gather(*futures), 30)
        values = [float(answer[0][0]) for answer in answers]
        np.testing.assert_allclose(values, [0, 1, 1], atol=1e-6)
        await batcher.close()

    asyncio.run(fill())
    assert len(runs) == 1


def test_a_large_request_is_run_in_parts_and_others_get_their_turns(tmp_path):
    servable = Servable("kinds", 1, save_kinds(tmp_path / "1"))
    signature = servable.signature("logarithm")
    values = np.arange(1, 2001, dtype=np.float32)
    runs, order = [], []

    async def ask():
        parameters = BatchingParameters(max_batch_size=300)
        batcher = Batcher(parameters, True, lambda *_: None, lambda *_: runs.append(1))
        large = asyncio.create_task(batcher.run(signature, [values], len(values)))
        large.add_done_callback(lambda _: order.append("large"))
        await asyncio.sleep(0)
        small = asyncio.create_task(batcher.run(signature, [values[:3]], 3))
        small.add_done_callback(lambda _: order.append("small"))
        answers = await asyncio.gather(large, small)
        await batcher.close()
        return answers

    (many,), (few,) = asyncio.run(ask())
    np.testing.assert_allclose(many, np.log(values.astype(float)), rtol=1e-6)
    np.testing.assert_allclose(few, np.log([1, 2, 3]), atol=1e-6)
    assert order == ["small", "large"]
    assert len(runs) >= math.ceil(2000 / PART_ROWS)


def test_parts_are_as_large_as_the_sizes_that_are_allowed(tmp_path):
    servable = Servable("kinds", 1, save_kinds(tmp_path / "1"))
    signature = servable.signature("logarithm")
    values, rows = np.arange(1, 2001, dtype=np.float32), []
    run = signature.run
    signature.run = lambda *inputs: rows.append(len(inputs[0])) or run(*inputs)

    async def ask():
        parameters = BatchingParameters(
            max_batch_size=600, allowed_batch_sizes=(100, 600)
        )
        batcher = Batcher(parameters, True, lambda *_: None, lambda *_: None)
        answer = await batcher.run(signature, [values], len(values))
        await batcher.close()
        return answer

    (logarithms,) = asyncio.run(ask())
    np.testing.assert_allclose(logarithms, np.log(values.astype(float)), rtol=1e-6)
    assert rows == [600, 600, 600, 600]


def test_a_large_request_that_is_no_row_for_a_row_is_run_as_a_whole(tmp_path):
    signature = distinct_signature(tmp_path / "1")
    ids = np.arange(3000) % 200

    async def ask():
        batcher = Batcher(BatchingParameters(), True, lambda *_: None, lambda *_: None)
        (distinct,) = await batcher.run(signature, [ids], len(ids))
        await batcher.close()
        return distinct

    assert asyncio.run(ask()).tolist() == list(range(200))
