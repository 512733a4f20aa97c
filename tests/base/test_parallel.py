import threading

import pytest

from tfdlrm.base.parallel import map_in_order, read_ahead


def test_results_come_in_order_and_few_items_are_held():
    taken_numbers = []

    def items():
        for number in range(100):
            taken_numbers.append(number)
            yield number

    for num_done, result in enumerate(
        map_in_order(lambda x: 2 * x, items(), workers=3)
    ):
        assert result == 2 * num_done
        assert len(taken_numbers) <= num_done + 5
    assert len(taken_numbers) == 100


def test_an_exception_is_raised_in_its_place():
    def fail_at_3(number):
        if number == 3:
            raise KeyError(number)
        return number

    results = map_in_order(fail_at_3, range(9))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)


def test_leaving_early_leaves_no_thread():
    num_threads = threading.active_count()
    results = map_in_order(abs, read_ahead(range(1000)))
    assert next(results) == 0
    results.close()
    assert threading.active_count() == num_threads


def test_reading_ahead_keeps_items_and_exceptions():
    def items():
        yield from (0, None, b"")
        raise OSError("gone")

    reader = read_ahead(items())
    assert [next(reader) for _ in range(3)] == [0, None, b""]
    with pytest.raises(OSError, match="gone"):
        next(reader)
