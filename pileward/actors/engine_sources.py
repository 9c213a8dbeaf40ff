"""Actors loaded from zip files at run time, as Thespian does it; its own loader does the work.

Off unless the engine is told otherwise: whoever may load a source may run any code. A source is used only
once an actor that registered as the authority has validated it.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import structlog
from thespian.actors import ActorSystemFailure, LoadedSource, UnloadedSource, ValidatedSource, ValidateSource
from thespian.system.sourceLoader import SourceHashFinder, loadModuleFromHashSource

from pileward.actors.engine_cell import Cell

if TYPE_CHECKING:
    from pileward.actors.engine import Engine

log = structlog.get_logger(__name__)


class Sources:
    """The loaded sources of one engine, by hash."""

    __slots__ = ("_engine", "_is_allowed", "_listeners", "_sources", "authority")

    def __init__(self, engine: Engine, is_allowed: bool) -> None:
        self._engine = engine
        self._is_allowed = is_allowed
        self._sources: dict[str, bytes] = {}
        self._listeners: dict[Cell, None] = {}
        self.authority: Cell | None = None

    def loader(self, source_hash: str | None) -> Callable[[str, str], type] | None:
        """What finds a class in the source of that hash; None for ordinary imports."""
        if source_hash is None:
            return None
        return functools.partial(loadModuleFromHashSource, source_hash, self._sources)

    def load(self, source: str | BinaryIO) -> str:
        """Read a source and have it validated; its hash, which is of use once the authority has agreed."""
        if not self._is_allowed:
            raise ActorSystemFailure("actor sources are off: Engine(allow_sources=True) allows them")
        if isinstance(source, str):
            data = Path(source).read_bytes()
        else:
            with source:
                data = source.read()
        source_hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if self.authority is not None:
            engine = self._engine
            engine.post(self.authority, ValidateSource(source_hash, data), engine.system)
        return source_hash

    def accept(self, answer: ValidatedSource) -> None:
        """The authority has decided. A source without content, or one that is no zip file, is refused."""
        if not self._is_allowed or answer.sourceZip is None:
            return
        try:
            SourceHashFinder(answer.sourceHash, lambda data: data, answer.sourceZip).getZipNames()
        except Exception as error:
            log.error("actor_source_refused", source_hash=answer.sourceHash, error=str(error))
            return
        self._sources[answer.sourceHash] = answer.sourceZip
        self._tell(LoadedSource(answer.sourceHash, ""))

    def unload(self, source_hash: str) -> None:
        """Forget a source and the modules that came from it."""
        if self._sources.pop(source_hash, None) is None:
            return
        self._tell(UnloadedSource(source_hash, ""))
        for finder in sys.meta_path:
            if isinstance(finder, SourceHashFinder) and finder.srcHash == source_hash:
                root = finder.hashRoot()
                for name in [name for name in sys.modules if name.startswith(root)]:
                    del sys.modules[name]
                sys.meta_path.remove(finder)
                break

    def notify(self, cell: Cell, enable: bool) -> None:
        """Tell an actor what comes and goes, and at once what is there; or no longer."""
        self._listeners.pop(cell, None)
        if enable:
            self._listeners[cell] = None
            for source_hash in self._sources:
                self._engine.post(cell, LoadedSource(source_hash, ""), self._engine.system)

    def forget(self, cell: Cell) -> None:
        """An actor has exited."""
        self._listeners.pop(cell, None)
        if self.authority is cell:
            self.authority = None

    def close(self) -> None:
        """Unload everything."""
        for source_hash in list(self._sources):
            self.unload(source_hash)

    def _tell(self, message: Any) -> None:
        for cell in self._listeners:
            self._engine.post(cell, message, self._engine.system)
