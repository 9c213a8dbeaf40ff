"""Errors that cross modules.

    PilewardError
    ├── DatabaseError             the database cannot be used; whoever runs the machine can mend it
    │   ├── DatabaseTooNewError   its schema was made by a later version of the program
    │   └── SchemaBehindError     it must be migrated first
    └── DomainError               a refusal that a user may see; `code` is stable, text in Chinese and English
        ├── NotFoundError         what was named does not exist, or belongs to another operator
        ├── ConflictError         it exists already, or its state forbids the change
        └── InvalidError          a value that cannot be accepted; `field` names it

A broken peer, a failing handler and a bug of ours have errors of their own, beside what raises them.
"""

from __future__ import annotations


class PilewardError(Exception):
    """Base of all errors above."""


class DatabaseError(PilewardError):
    """The database cannot be used as it is; the message says what to do."""


class DatabaseTooNewError(DatabaseError):
    """The schema was made by a later version of the program than this one."""


class SchemaBehindError(DatabaseError):
    """The schema was made by an earlier version, or not at all, and is not migrated by itself."""


class DomainError(PilewardError):
    """A refusal that a user may see. `code` never changes its meaning; `zh` and `en` say the same."""

    def __init__(self, code: str, zh: str, en: str, *, field: str | None = None) -> None:
        super().__init__(f"{code}: {en}")
        self.code = code
        self.zh = zh
        self.en = en
        self.field = field
        """The input that is wrong, where it is one."""


class NotFoundError(DomainError):
    """What was named does not exist, or belongs to another operator."""


class ConflictError(DomainError):
    """It exists already, or its state forbids the change."""


class InvalidError(DomainError):
    """A value that cannot be accepted."""
