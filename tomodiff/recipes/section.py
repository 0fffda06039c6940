"""Groups of settings, and what the settings of every kind of job have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from tomodiff.recipes import fields

ENDS = ("input", "output")
"""The groups of settings that every job has."""


class Section(BaseModel):
    """A group of settings that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)  # --help needs none

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What is wrong between settings, as (field, message), from values that may not have passed yet."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate, and list conflicts between fields beside the errors of single fields."""
        wrong: list[InitErrorDetails] = []
        checked = None
        try:
            checked = handler(given)
        except ValidationError as error:
            for e in error.errors(include_url=False):
                kind = PydanticCustomError(e["type"], "{message}", {"message": e["msg"]} | e.get("ctx", {}))
                wrong.append(InitErrorDetails(type=kind, loc=e["loc"], input=e["input"]))
        for field, message in cls.conflicts(given) if isinstance(given, dict) else ():
            kind = PydanticCustomError("conflict", "{message}", {"message": message})
            wrong.append(InitErrorDetails(type=kind, loc=(field,), input=given.get(field)))
        if checked is None or wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return checked


class MethodSection(Section):
    """A group of settings with a `method`, some of which only some methods have: those of the chosen one that are not
    given get its defaults, those of others are refused."""

    METHODS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Method -> the settings that it has beside the common ones, with their defaults."""

    @classmethod
    def _method_of(cls, given: dict[str, Any]) -> str:
        method = given.get("method", cls.model_fields["method"].default)
        return method if isinstance(method, str) else ""

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        defaults = cls.METHODS.get(cls._method_of(given), {})
        return {**given, **{name: value for name, value in defaults.items() if given.get(name) is None}}

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        method = cls._method_of(given)
        own = cls.METHODS.get(method)
        if own is None:
            return
        has = f" (it has {', '.join(own)})" if own else ""
        for name in sorted({name for table in cls.METHODS.values() for name in table} - set(own)):
            if given.get(name) is not None:
                yield name, f"method {method} has none{has}; remove it or set it to null"


class Job(Section):
    """The settings of a whole job: its kind, what goes in, where the result goes, the seed of all random numbers."""

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (("input", "path"), ("output", "path"))
    """Where the settings hold paths."""
    PATH_LISTS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Where they hold several, in a list or separated by commas."""
    NO_PATHS: ClassVar[tuple[str, ...]] = ()
    """Words that may stand in place of a path."""
    INPUTS: ClassVar[Mapping[str, str]] = MappingProxyType({"path": "input"})
    """Fields of `input` that name files, and what a report calls them."""

    job: str
    input: Any
    output: Any
    seed: fields.Seed = Field(default=0, description="start of all random numbers")

    def as_dict(self) -> dict[str, Any]:
        """Plain (YAML) values, without the settings that are not set."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {name: values[name] for name in self.in_order() if name in values}

    @classmethod
    def in_order(cls) -> list[str]:
        """The names of the settings and their groups as a file lists them: the output and what follows it last."""
        last = [name for name in ("output", "seed", "preview") if name in cls.model_fields]
        return [name for name in cls.model_fields if name not in last] + last

    @property
    def device(self) -> str:
        """Where the job computes: "cpu" or "cuda"."""
        found = (getattr(getattr(self, name), "device", None) for name in type(self).model_fields)
        return next((str(name) for name in found if name is not None), "cpu")

    @property
    def is_preview(self) -> bool:
        """Whether only a few slices are wanted."""
        return bool(getattr(self, "preview", False))

    def of_trial(self) -> str:
        """What makes this a trial, in words; nothing where it is none, or says so itself."""
        return ""

    @property
    def method(self) -> str:
        """How the result is found, for a title."""
        return str(self.job)

    def input_files(self) -> dict[str, Path]:
        """The files and folders that go in, by what a report calls them; those that exist."""
        given = {role: getattr(self.input, name) for name, role in self.INPUTS.items()}
        given |= {name: getattr(getattr(self, group), name) for group, name in self.PATHS if group not in ENDS}
        for group, name in self.PATH_LISTS:
            several = getattr(getattr(self, group), name) or ()
            given |= {f"{name} {number}": path for number, path in enumerate(several, 1)}
        there = ((role, path) for role, path in given.items() if path is not None and str(path) not in self.NO_PATHS)
        return {role: Path(path) for role, path in there if Path(path).exists()}


class TrialJob(Job):
    """A job whose trial is the job itself with fewer steps, or coarser: `TRIAL` in place of what is not given."""

    TRIAL: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Full name of a setting -> its value in a trial."""

    preview: fields.Switch = Field(default=False, description="a rough result in a fraction of the time")

    @classmethod
    def trial(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`TRIAL`, or what of it goes with the settings that are given."""
        return cls.TRIAL

    def of_trial(self) -> str:
        if not self.preview:
            return ""
        words = [f"{name.split('.')[1]} {attrgetter(name)(self)}" for name in self.trial(self.model_dump())]
        return ", ".join(words) or "nothing is left out"

    @model_validator(mode="before")
    @classmethod
    def _on_trial(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preview") is not True:
            return given
        made = dict(given)
        for name, value in cls.trial(given).items():
            group, key = name.split(".")
            section = made.get(group)
            if section is None or (isinstance(section, dict) and section.get(key) is None):
                made[group] = {**(section or {}), key: value}
        return made
