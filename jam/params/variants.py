"""A recipe, and variants that change some of it: what the sections that compare such have in common."""

from collections.abc import Iterator
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, ValidationError

from jam.params.fields import Name, Section, Seeds

Recipe = TypeVar("Recipe", bound=Section)


class Varied(Section, Generic[Recipe]):
    """``variants`` name what each changes of ``recipe``; the first is what the others are compared with.

    Those ``repeated`` are trained with all seeds, the others with the first.
    """

    seeds: Seeds
    repeated: tuple[Name, ...] = ()
    recipe: Recipe
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]

    def variant(self, name: str) -> Recipe:
        """The recipe of a variant."""
        return type(self.recipe).model_validate({**self.recipe.model_dump(), **self.variants[name]})

    def of_seeds(self, name: str) -> Seeds:
        """The seeds that a variant is trained with."""
        return self.seeds if name in self.repeated else self.seeds[:1]

    def _problems(self) -> Iterator[str]:
        if odd := [name for name in self.repeated if name not in self.variants]:
            yield f"repeated: got {odd}, expected names among {list(self.variants)}"
        for name in self.variants:
            try:
                self.variant(name)
            except ValidationError as error:
                told = error.errors()[0]
                where = ".".join(["variants", name, *map(str, told["loc"])])
                yield f"{where}: {told['msg'].removeprefix('Value error, ')}"
                return
