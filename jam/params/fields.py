"""What the sections of params.yaml are made of."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]  # as torch takes them
T = TypeVar("T")


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"got {list(values)}, expected each once")
    return values


Distinct = Annotated[tuple[T, ...], AfterValidator(_each_once)]
Some = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]  # at least one, each once
Seeds = Some[Seed]
LayerNumber = Annotated[int, Field(ge=0, le=99, strict=True)]
Share = Annotated[float, Field(gt=0, lt=1)]
SplitName = Literal["train", "val", "test"]
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
Strings = Annotated[tuple[str, ...], OneOrMore]
# Names become DVC stage names and folder names, where dots and slashes have meanings of their own.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


UP = "../../"  # from a folder of worlds/ to the root


def of_root(path: str) -> str:
    """A path of the project's code as it is at the root."""
    return path.removeprefix(UP)


class Section(BaseModel):
    """A section refuses keys that it does not know and values that do not fit together, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def _problems(self) -> Iterator[str]:
        """What does not fit together; the first is told, and those after it may take it for granted."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self
