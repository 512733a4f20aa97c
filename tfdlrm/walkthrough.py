"""`python -m tfdlrm.walkthrough`: one row through a tiny DLRM, number by number."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import use_device

if TYPE_CHECKING:
    import numpy as np

    from tfdlrm.training.one_step import OneStep

WIDTH = 80


@dataclass(frozen=True)
class WalkthroughCommand:
    """Show every number of one row's way through a tiny DLRM and one training step."""


def walk_through(step: "OneStep", console: Console) -> None:
    """Print a step, from the row to what it changed.

    Args:
        step: The step.
        console: The console to print on; 80 columns are enough.
    """
    for number, (title, text, show) in enumerate(_CHAPTERS, 1):
        console.print(f"\n{number}. {title}", style="bold")
        console.print(f"{text}\n")
        show(step, console)


def _row(step: "OneStep", console: Console) -> None:
    from tfdlrm.training.one_step import VOCABULARIES

    _print_matrix(console, "counts", [step.row.counts])
    _print_matrix(console, "dense_features = log(counts + 1)", [step.dense])
    for (name, values), value, identity in zip(
        VOCABULARIES.items(), step.row.values, step.ids, strict=True
    ):
        ids = ", ".join(f"{number} {text}" for number, text in enumerate(values))
        console.print(f"   {name} is {value}: id {identity}   (of {ids})")
    indices = [column.tolist() for column in step.columns.indices]
    console.print(
        f"   categorical_features = {step.ids.tolist()}; for an embedding bag, "
        f"indices {indices}\n   and offsets {step.columns.offsets.tolist()}"
    )
    console.print(f"   label = {step.row.label:.0f}")


def _embeddings(step: "OneStep", console: Console) -> None:
    for position, (table, identity) in enumerate(
        zip(step.tables, step.ids, strict=True)
    ):
        name = f"table {position}"
        _print_matrix(console, name, table, chosen=int(identity))
        console.print(f"   e{position} = {_vector(step.vectors[1 + position])}")


def _bottom(step: "OneStep", console: Console) -> None:
    _show_layers(step.bottom, "dense_features", console)
    console.print(f"   z = {_vector(step.vectors[0])}")


def _interaction(step: "OneStep", console: Console) -> None:
    _print_matrix(console, "V", step.vectors, names=_names(step))
    _print_matrix(
        console, "V @ V^T", step.products, names=_names(step), below_diagonal=True
    )
    console.print(f"   e1 . e0 = {_dot(step.vectors[2], step.vectors[1])}")
    console.print(f"   pairs (e0.z, e1.z, e1.e0) = {_vector(step.pairs)}")


def _top(step: "OneStep", console: Console) -> None:
    _show_layers(step.top, "[z, pairs]", console)
    console.print(f"   logit = {step.logit:.4f}")


def _loss(step: "OneStep", console: Console) -> None:
    p = step.probability
    clicked = step.row.label == 1
    inside = f"{p:.4f}" if clicked else f"1 - {p:.4f}"
    console.print(f"   p = 1 / (1 + exp(-({step.logit:.4f}))) = {p:.4f}")
    console.print(f"   loss = -log({inside}) = {step.loss:.4f}")


def _gradient(step: "OneStep", console: Console) -> None:
    z, e1 = step.vectors[0], step.vectors[2]
    z_gradient, e1_gradient = step.pair_gradients[0], step.pair_gradients[2]
    console.print(
        f"   d loss / d logit = {step.probability:.4f} - {step.row.label:.0f} = "
        f"{step.logit_gradient:.4f}"
    )
    console.print(f"   d loss / d pairs = {_vector(step.pair_gradients)}")
    console.print("   d loss / d e0 = d loss / d (e0.z) * z + d loss / d (e1.e0) * e1")
    console.print(
        f"     = {z_gradient:.4f} * {_vector(z)} + {e1_gradient:.4f} * {_vector(e1)}"
    )
    console.print(f"     = {_vector(step.row_gradient)}")


def _update(step: "OneStep", console: Console) -> None:
    name = f"table 0 row {step.ids[0]}"
    console.print(f"   {name} before  {_vector(step.row_before)}")
    console.print(
        f"   - {step.learning_rate:g} * {_vector(step.row_gradient)}, its gradient"
    )
    console.print(f"   {name} after   {_vector(step.row_after)}")
    console.print(
        f"   With all weights updated like this, the loss of this row falls from "
        f"{step.loss:.4f} to {step.loss_after:.4f}."
    )


def _show_layers(
    layers: "list[dict[str, np.ndarray]]", inputs: str, console: Console
) -> None:
    for number, layer in enumerate(layers):
        _print_matrix(console, f"W{number}", layer["kernel"])
        console.print(f"   b{number} = {_vector(layer['bias'])}")
        console.print(f"   {inputs} @ W{number} + b{number} = {_vector(layer['sums'])}")
        inputs = f"h{number}"
        if number < len(layers) - 1 or layer["outputs"].size > 1:
            console.print(f"   {inputs} = {_vector(layer['outputs'])}")


def _names(step: "OneStep") -> list[str]:
    return ["z", *(f"e{i}" for i in range(len(step.vectors) - 1))]


def _print_matrix(
    console: Console,
    name: str,
    values: "Iterable[Iterable[float]]",
    names: list[str] | None = None,
    chosen: int | None = None,
    below_diagonal: bool = False,
) -> None:
    """Print a matrix with its name and shape; a chosen row or triangle is bold."""
    rows = [list(row) for row in values]
    table = Table(box=None, show_header=False, padding=(0, 1))
    for i, row in enumerate(rows):
        mark = names[i] if names else (">" if i == chosen else "")
        cells = [
            Text(
                f"{value:.4f}",
                "bold" if i == chosen or (below_diagonal and j < i) else "",
                justify="right",
            )
            for j, value in enumerate(row)
        ]
        table.add_row(mark, *cells)
    console.print(f"   {name}  ({len(rows)}, {len(rows[0])})")
    console.print(Padding(table, (0, 0, 0, 3), expand=False))


def _vector(values: "np.ndarray") -> str:
    return f"[{', '.join(f'{value:.4f}' for value in values)}]"


def _dot(left: "np.ndarray", right: "np.ndarray") -> str:
    terms = " + ".join(
        f"{a:.4f} * {b:.4f}" if b >= 0 else f"{a:.4f} * ({b:.4f})"
        for a, b in zip(left, right, strict=True)
    )
    return f"{terms}\n           = {float(left @ right):.4f}"


_CHAPTERS = (
    (
        "The row",
        "Continuous features are reduced by log(x + 1). The value of a categorical "
        "feature is replaced by its id, its position in the vocabulary.",
        _row,
    ),
    (
        "Embeddings",
        "Each categorical feature has a table with a row for each id. Looking up an id "
        "returns its row.",
        _embeddings,
    ),
    (
        "The bottom MLP",
        "The continuous features become one more vector, z, as wide as the "
        "embeddings. Each layer computes inputs @ W + b and sets negative numbers to "
        "0 (ReLU).",
        _bottom,
    ),
    (
        "The interaction",
        "The vectors are the rows of a matrix: V = [z, e0, e1]. V @ V^T holds every "
        "dot product twice, and that of each vector with itself. The numbers below the "
        "diagonal, row by row, have each pair once.",
        _interaction,
    ),
    (
        "The top MLP",
        "Its input is z followed by the pairs. Its last layer returns one number, the "
        "logit, without a ReLU.",
        _top,
    ),
    (
        "The loss",
        "The sigmoid turns the logit into a probability p. The loss, binary "
        "cross-entropy, is -log(p) after a click and -log(1 - p) without one.",
        _loss,
    ),
    (
        "The gradient of one row",
        "Backwards: the gradient of the loss by the logit is p - label; the top MLP "
        "passes it on to each pair. e0 is in two pairs, so its gradient is a sum over "
        "the other vectors of these pairs. Only rows that were looked up have a "
        "gradient.",
        _gradient,
    ),
    (
        "The step",
        "SGD subtracts the learning rate times the gradient from every weight. In the "
        "tables it changes only these rows, however many rows they have.",
        _update,
    ),
)


def main() -> None:
    parse(WalkthroughCommand, "tfdlrm.walkthrough")
    use_device("cpu")

    from tfdlrm.training.one_step import OneStep

    walk_through(OneStep(), Console(width=WIDTH, highlight=False, markup=False))


if __name__ == "__main__":
    run_command(main)
