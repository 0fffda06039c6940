"""Errors a user can act on: each knows the exit code that the command returns for it."""

from __future__ import annotations


class TomodiffError(Exception):
    """Any failure that is explained in one message, without a traceback."""

    exit_code = 1


class ConfigError(TomodiffError):
    """Settings or command line that cannot be run."""

    exit_code = 2


class DataError(TomodiffError):
    """A file or an array that is not what it should be.

    The message names the file, the field in it, what was expected and what was found.
    """

    exit_code = 3

    def __init__(self, path: object, field: str, expected: str, found: str, hint: str = "") -> None:
        where = f"{path}: {field}" if field else f"{path}"
        message = f"{where}: expected {expected}, found {found}"
        super().__init__(f"{message}. {hint}" if hint else message)
        self.path, self.field, self.expected, self.found, self.hint = path, field, expected, found, hint


class MemoryNeeded(TomodiffError):
    """A job that would not fit in the memory that is free."""

    exit_code = 4


class Diverged(TomodiffError):
    """An iteration whose objective became NaN or grew without bound."""

    exit_code = 5


class Stopped(TomodiffError):
    """A run that stopped early and left a checkpoint from which it resumes."""

    exit_code = 75
