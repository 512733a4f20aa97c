"""A change of the models that are served: all of it, or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.versions import is_whole, versions_in
from tfdlrm.serving.model_versions import Model, Prepared
from tfdlrm.serving.policies import ModelSettings


@dataclass(frozen=True)
class _Step:
    """A model that a change adds, moves, or gives other versions or labels."""

    model: Model
    settings: ModelSettings
    prepared: Prepared


def change_models(
    served: Mapping[str, Model],
    settings: Sequence[ModelSettings],
    new_model: Callable[[ModelSettings], Model],
    allows_missing_labels: bool,
) -> dict[str, Model]:
    """Load what other settings want, and then serve it, all at once.

    Models that the settings no longer name, or that moved to another directory, are
    still loaded afterwards.

    Args:
        served: The models by name.
        settings: Settings of all models that are to be served.
        new_model: Function that returns a model without versions.
        allows_missing_labels: Whether a new label may name a version that is not
            served.

    Returns:
        The models by name.

    Raises:
        InputError: If a model cannot be served as the settings say; nothing is changed.
    """
    steps: list[_Step] = []
    try:
        for wanted in settings:
            model = served.get(wanted.name)
            if model is not None and model.settings == wanted:
                continue
            step = _prepare(model, wanted, new_model)
            steps.append(step)
            if not step.prepared.chosen:
                raise InputError(why_nothing_loads(step.model, wanted))
            check_labels(model, wanted, step.prepared.chosen, allows_missing_labels)
    except BaseException:
        for step in steps:
            step.model.discard(step.prepared)
        raise
    for step in steps:
        step.model.adopt(step.settings, step.prepared)
    changed = {step.settings.name: step.model for step in steps}
    return {
        wanted.name: changed.get(wanted.name) or served[wanted.name]
        for wanted in settings
    }


def _prepare(
    model: Model | None,
    settings: ModelSettings,
    new_model: Callable[[ModelSettings], Model],
) -> _Step:
    if model is None or model.settings.base_path != settings.base_path:
        model = new_model(settings)
    try:
        return _Step(model, settings, model.prepare(settings))
    except OSError as error:
        raise InputError(f"{settings.base_path} cannot be read: {error}") from None


def check_labels(
    served: Model | None,
    settings: ModelSettings,
    chosen: Sequence[int],
    allows_missing: bool,
) -> None:
    """Check that the versions that have labels are served.

    Args:
        served: The model as it is served now; `None` for a new one.
        settings: Its settings.
        chosen: Numbers of the versions that will be served.
        allows_missing: Whether a label may name a version that is not served, unless
            requests for the label are answered now.

    Raises:
        InputError: If one is not.
    """
    for label, version in settings.labels.items():
        if version in chosen:
            continue
        name = settings.name
        before = None if served is None else served.settings.labels.get(label)
        if served is not None and before in served.available:
            raise InputError(
                f"label {label} of {name} is for version {version}, which is not "
                f"served then, and requests for it are answered by {before} now: let "
                "the version be served first"
            )
        if not allows_missing:
            raise InputError(
                f"label {label} of {name} is for version {version}, which is not "
                "served; --allow_version_labels_for_unavailable_models allows it"
            )


def why_nothing_loads(model: Model, settings: ModelSettings) -> str:
    """Return the reason for which no version of a model is served."""
    path = settings.base_path
    if is_whole(path):
        return (
            f"{path} is a version of a model, expected the directory of its versions: "
            f"{path.resolve().parent}"
        )
    errors = [
        f"{path / str(version)}: {status.error.message}"
        for version, status in sorted(model.statuses.items(), reverse=True)
        if status.error is not None
    ]
    if errors:
        return f"no version of {settings.name} loads; {errors[0]}"
    if versions := sorted(versions_in(path)):
        listed = ", ".join(map(str, versions))
        return (
            f"{path} has none of the versions that the policy names, expected some of "
            f"{listed}"
        )
    return (
        f"{path} has no version of a model to serve: expected a directory such as "
        f"{path}/1, written by tfdlrm.train or tfdlrm.export"
    )
