"""What each variable of a model and its optimizer is for.

Checkpoints name variables by position. Positions differ between two models of one
architecture if only one of them has dropout or a loss scale; roles do not.
"""

from typing import Any, NamedTuple

import keras

from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.optimizers._parts import parts_of


class Role(NamedTuple):
    """What a variable is for.

    Args:
        group: `weight`, `seed`, `iterations`, `state`, `decay`, `dense` or
            `scale`.
        number: Number of the weight, of the source of random numbers, of the trainable
            weight that the state belongs to, of the variable of an optimizer for the
            dense layers alone, or of the variable of the loss scale.
        part: Number of the state, if the optimizer keeps several for each weight.
    """

    group: str
    number: int = 0
    part: int = 0


ITERATIONS = Role("iterations")


def roles_of(model: keras.Model, variables: SavedVariables) -> dict[Role, str]:
    """Return the name in a checkpoint of the variable in each role.

    The learning rate has no role: it is a setting.

    Args:
        model: A compiled model.
        variables: Its variables, with those of the optimizer.
    """
    seeds = [
        generator.state
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    ]
    seed_ids = {id(seed) for seed in seeds}
    weights = [weight for weight in model.variables if id(weight) not in seed_ids]
    outer = model.optimizer
    optimizer, *others = parts_of(outer)
    roles = _numbered("weight", weights, variables) | _numbered(
        "seed", [seed for seed in model.variables if id(seed) in seed_ids], variables
    )
    roles[ITERATIONS] = variables.holder_of(optimizer.iterations).name
    if hasattr(outer, "inner_optimizer"):  # of loss scaling
        roles |= _numbered("scale", _without_rate(outer), variables)
    if optimizer.late_decay is not None:
        total = optimizer.late_decay.total
        roles[Role("decay")] = variables.holder_of(total).name
    for dense in others:
        roles |= _numbered("dense", _without_rate(dense), variables)
    trainable_names = _numbered("", model.trainable_variables, variables).values()
    numbers = {name: number for number, name in enumerate(trainable_names)}
    known = {id(weight) for weight in optimizer._trainable_variables}
    for weight in model.trainable_variables:
        if id(weight) not in known:
            continue
        number = numbers[variables.holder_of(weight).name]
        for part, state in enumerate(optimizer.row_state(weight)):
            roles[Role("state", number, part)] = variables.holder_of(state).name
    return roles


def _without_rate(optimizer: Any) -> list[Any]:
    """Return the variables of an optimizer itself, except the learning rate."""
    rate = optimizer._learning_rate
    return [variable for variable in optimizer._variables if variable is not rate]


def _numbered(
    group: str, members: list[Any], variables: SavedVariables
) -> dict[Role, str]:
    """Return the role of each variable of a group; the shards of a table are one."""
    names = dict.fromkeys(variables.holder_of(member).name for member in members)
    return {Role(group, number): name for number, name in enumerate(names)}
