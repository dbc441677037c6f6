from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.config import ConfigError, Settings, load


class Files:
    """Configuration files in a folder of their own. Messages come back with paths relative to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "nanomq.conf") -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def load(self, text: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return load(self.write(text), environ=environ or {}, overrides=dotted)

    def errors(self, text: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, environ, **overrides)
        assert len(caught.value.problems) == len(str(caught.value).splitlines())
        return self.relative(str(caught.value).splitlines())

    def error(self, text: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> str:
        found = self.errors(text, environ, **overrides)
        assert len(found) == 1, found
        return found[0]

    def warnings(self, text: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> list[str]:
        return self.relative(list(map(str, self.load(text, environ, **overrides).warnings)))

    def relative(self, lines: list[str]) -> list[str]:
        return [line.replace(f"{self.folder}/", "") for line in lines]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def read(files: Files) -> Callable[..., Settings]:
    return files.load
