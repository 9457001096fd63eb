"""Put a page where a web server or a person finds it: whole or not at all."""

from __future__ import annotations

from pathlib import Path

from _registry_show_file import replace_file


def write_page(path: str, page: str) -> int:
    """Put a page in the place of an older one, readable for everybody.

    A symbolic link is followed within its directory alone: whoever may write there could otherwise have any
    file of the system overwritten.

    Args:
        path: absolute; its directory exists.
        page: HTML.

    Returns:
        Its bytes.

    Raises:
        OSError: it cannot be written, or the link leads elsewhere; the older page is as it was.
    """
    target = _target(Path(path))
    content = page.encode("utf-8", errors="replace")
    replace_file(target, content)
    return len(content)


def _target(path: Path) -> Path:
    directory = path.parent.resolve(strict=True)
    target = (directory / path.name).resolve()
    if target.parent != directory:
        raise OSError(f"{path} is a link to {target}, which is not in its directory; it was left as it is")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the path of a file")
    return target
