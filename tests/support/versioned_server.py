"""A server of models with several versions and labels."""

import shutil
from contextlib import contextmanager

from tests.support.served_model import save_kinds, save_scores, set_methods
from tests.support.serving_thread import embedded
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.server import ServerSettings


def save_versions(directory):
    """Write two versions of `scores`, one of `kinds`, and one of another method."""
    save_scores(directory / "scores" / "1")
    save_scores(directory / "scores" / "20", bias=1.0)
    version = save_kinds(directory / "kinds" / "3")
    odd = shutil.copytree(version, directory / "odd" / "1")
    set_methods(odd, {"total": "add_up"})


@contextmanager
def versioned_server(directory):
    """Serve what `save_versions` wrote; yields the server."""
    both = VersionPolicy("latest", count=2)
    labels = {"stable": 1, "canary": 20, "gone": 7}
    models = [
        ModelSettings("scores", directory / "scores", both, labels),
        ModelSettings("kinds", directory / "kinds"),
        ModelSettings("odd", directory / "odd"),
    ]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running
