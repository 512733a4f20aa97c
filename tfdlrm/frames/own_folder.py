"""A temporary directory that goes with the object that holds it."""

import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp


class OwnFolder:
    """A directory that is removed, without a warning, when nothing refers to it."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="tfdlrm-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
