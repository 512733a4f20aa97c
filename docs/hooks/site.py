"""Shows the version and the repository on the site, and pictures in their dark form."""

import re
import tomllib
from pathlib import Path
from typing import Any

from tfdlrm.base.version import __version__

_LIGHT_PICTURE = re.compile(r"!\[([^\]]*)\]\((\S+)_light\.(png|svg)\)")


def on_config(config: Any, **kwargs: Any) -> Any:
    """Put the version into the site's name, and link the repository if it is known."""
    config.site_name = f"{config.site_name} {__version__}"
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    repository = project.get("urls", {}).get("Repository")
    if repository:
        config.repo_url, config.repo_name = repository, "Repository"
    return config


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the dark form of each picture next to its light one; one of them is shown."""
    return _LIGHT_PICTURE.sub(
        r"![\1](\2_light.\3#only-light)![\1](\2_dark.\3#only-dark)", markdown
    )
