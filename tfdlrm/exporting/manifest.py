"""The manifest of an exported version: size and SHA-256 of each of its files."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.checksums import file_sha256, seal, unseal
from tfdlrm.base.errors import InputError
from tfdlrm.data import exported_model

MODEL_FILE = exported_model.MODEL_FILE
EXTRA_DIRECTORY = exported_model.EXTRA_DIRECTORY
MANIFEST_FILE = f"{EXTRA_DIRECTORY}/{exported_model.MANIFEST_NAME}"
FORMAT_VERSION = 1

MARK = f"tfdlrm: whole with {MANIFEST_FILE}"
"""Written into the graph of a version that has a manifest. It distinguishes a copy that
lacks its manifest from a model that never had one."""

_THREADS = 4
"""Threads help: computing checksums and reading both release Python's lock."""


def write_manifest(version: Path) -> None:
    """Write the manifest of a version whose files are all there, on this machine.

    Raises:
        OSError: If the disk refuses.
    """
    names = sorted(
        path.relative_to(version).as_posix()
        for path in version.rglob("*")
        if path.is_file()
    )
    checksums = _checksums(version, names)
    files = {
        name: {"bytes": (version / name).stat().st_size, "sha256": checksum}
        for name, checksum in checksums.items()
    }
    target = version / MANIFEST_FILE
    target.parent.mkdir(exist_ok=True)
    text = seal({"format_version": FORMAT_VERSION, "files": files})
    storage.replace_text(target, text + "\n")


def check_version(version: Path) -> bool:
    """Check each file that the manifest of a version names; other files are ignored.

    Args:
        version: Directory of the version.

    Returns:
        Whether the version has a manifest. Versions that earlier releases or Keras
        wrote have none.

    Raises:
        InputError: If a file, or the manifest itself, is missing or not as it was
            exported.
    """
    try:
        if not (version / MANIFEST_FILE).is_file():
            _require_unmarked(version)
            return False
        files = _read_manifest(version / MANIFEST_FILE)
        for name, (size, _) in files.items():
            _check_size(version / name, size)
        for name, checksum in _checksums(version, files).items():
            _, expected = files[name]
            if checksum != expected:
                raise _damage(version / name, f"the SHA-256 {checksum}", expected)
    except OSError as error:
        raise InputError(f"{version} cannot be read: {error}") from None
    return True


def unchecked(version: Path) -> str:
    """Return the line that says that a version has no manifest."""
    return (
        f"{version} has no {MANIFEST_FILE}: its files cannot be checked for damage; "
        "export the model again to have them checked"
    )


def _require_unmarked(version: Path) -> None:
    graph = version / MODEL_FILE
    if graph.is_file() and MARK.encode() in graph.read_bytes():
        raise InputError(
            f"{version} lacks {MANIFEST_FILE}, expected all files of the version as it "
            "was exported: it may still be being copied; if not, copy it again"
        )


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Return bytes and SHA-256 of each file, by its path relative to the version."""
    try:
        manifest = unseal(path.read_text(encoding="utf-8"))
        format_version = manifest["format_version"]
        if format_version != FORMAT_VERSION:
            raise InputError(
                f"{path} has format_version {format_version!r}, this release reads "
                f"{FORMAT_VERSION}: use the release that exported the model"
            )
        return {
            name: (file["bytes"], file["sha256"])
            for name, file in manifest["files"].items()
        }
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} is damaged ({reason}): it may still be being copied; if not, copy "
            "or export the version again"
        ) from None


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise InputError(
            f"{path} is missing, expected {expected:,} bytes: it may still be being "
            "copied; if not, copy or export the version again"
        )
    size = path.stat().st_size
    if size != expected:
        raise _damage(path, f"{size:,} bytes", f"{expected:,}")


def _damage(path: Path, content: str, expected: str) -> InputError:
    return InputError(
        f"{path} has {content}, expected {expected}: it is damaged or still being "
        "copied; copy or export the version again"
    )


def _checksums(version: Path, names: Collection[str]) -> dict[str, str]:
    """Compute the checksum of each file, several at a time."""
    with ThreadPoolExecutor(_THREADS, "checksum") as pool:
        paths = [version / name for name in names]
        return dict(zip(names, pool.map(file_sha256, paths), strict=True))
