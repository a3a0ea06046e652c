"""How sides are aligned: trained objectives, closed forms, the spaces that they make, and the schedule of trainings."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from jam.params.fields import (
    Count,
    Distinct,
    Fraction,
    LayerNumber,
    Name,
    NonNegative,
    OneOrMore,
    Positive,
    Section,
    Some,
)

# The first and the last value of a linear curriculum; a number is both.
Ends = Annotated[tuple[Fraction, Fraction], BeforeValidator(lambda x: (x, x) if isinstance(x, int | float) else x)]


class Configuration(Section):
    """What a training changes of its objective and of the schedule; what it does not name stays."""

    learning_rate: Positive | None = None
    latent: Count | None = None
    dropout: Fraction | None = None
    reconstruction: tuple[NonNegative, NonNegative] | None = None
    alpha: Ends | None = None
    weight_decay: NonNegative | None = None
    whitening: Positive | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What it names."""
        return {name: value for name, value in self if value is not None}

    def of(self, objective: "Objective", training: "Training") -> tuple["Objective", "Training"]:
        """Both, changed."""
        told = self.changes
        shared: dict[str, Any] = {name: (told.pop(name),) for name in ("weight_decay", "whitening") if name in told}
        told |= {name: (told[name],) for name in ("latent", "dropout") if name in told}
        if "alpha" in told:
            told["alphas"] = (told.pop("alpha"),)
        return (
            Objective.model_validate({**objective.model_dump(), **told, "configurations": ()}),
            training.model_copy(update=shared),
        )


class Objective(Section):
    """A trained alignment: which adapter, which loss.

    Of Spread the items of one ``context``, as the data tells it, and as many ``neighbours`` join an image's context.
    ``configurations`` are trained with the first seed; the best of them on validation rows with all seeds.

    ``latent`` and ``dropout`` are a value or several to try, ``alphas`` those of Spread, each a number or [first, last]
    of a linear curriculum; how, see `jam.align.setting`. ``reconstruction`` is λ at the first and at the last epoch.

    With ``dims`` the loss is mrl_weight · its mean over the first d coordinates of the latents, for each of them, plus
    clip_weight · itself at full width, see `jam.losses.shared.nested`.
    """

    model: Literal["autoencoder", "linear", "mlp"]
    loss: Literal["con", "negcon", "spread"]
    latent: Annotated[Some[Count], OneOrMore]
    learning_rate: Positive
    hidden: tuple[Count, ...] | None = None
    expansion: Count | None = None
    dropout: Annotated[Some[Fraction], OneOrMore] | None = None
    reconstruction: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    cross_reconstruction: NonNegative = 0.0
    alphas: Distinct[Ends] = ()
    neighbours: Annotated[int, Field(ge=0)] = 0
    context: bool = False
    dims: Some[Count] | None = None
    mrl_weight: Positive | None = None
    clip_weight: NonNegative | None = None
    configurations: tuple[Configuration, ...] = ()

    def _problems(self) -> Iterator[str]:
        if (self.loss == "spread") != bool(self.alphas):
            yield f"alphas: got {list(self.alphas)} with loss {self.loss}, expected them for spread alone"
        if self.loss != "spread" and (self.context or self.neighbours):
            yield f"context, neighbours: got them with loss {self.loss}, expected them for spread alone"
        if self.loss != "spread" and any(each.alpha for each in self.configurations):
            yield f"configurations: got an alpha with loss {self.loss}, expected it for spread alone"
        if len({part is None for part in (self.dims, self.mrl_weight, self.clip_weight)}) > 1:
            yield "dims, mrl_weight, clip_weight: got some of them, expected all three or none"
        narrowest = min([*self.latent, *(each.latent for each in self.configurations if each.latent)])
        if self.dims and max(self.dims) > narrowest:
            yield f"dims: got {max(self.dims)} with a latent of {narrowest}, expected at most as many"
        if any(each.changes == {} for each in self.configurations[1:]):
            yield "configurations: got one after the first that changes nothing"

    @property
    def tower_options(self) -> dict[str, Any]:
        """Arguments of the tower beyond what is tried."""
        return self.model_dump(include={"hidden", "expansion"}, exclude_none=True)


class ClosedForm(Section):
    """A loss whose optimum is known in closed form, and the values to choose from on validation rows.

    ``whitening`` lists shrinkages of the whitening of inputs, null for none, as `Training` has it.
    """

    loss: Literal["ridge", "procrustes", "cca"]
    whitening: Distinct[Positive | None] = (None,)
    penalty: Distinct[NonNegative] = ()
    components: Distinct[Count] = ()
    shrinkage: Distinct[Positive] = ()

    def _problems(self) -> Iterator[str]:
        needed = {"ridge": {"penalty"}, "procrustes": {"components"}, "cca": {"components", "shrinkage"}}[self.loss]
        if set(self.grid) != needed:
            yield f"got {sorted(self.grid)} for {self.loss}, expected {sorted(needed)}"

    @property
    def grid(self) -> dict[str, tuple[float, ...]]:
        """The values to try, by argument."""
        return {name: values for name, values in self if name not in ("loss", "whitening") and values}


Criterion = Literal["recall", "hard_negatives", "mean"]
Fit = Annotated[Objective | ClosedForm, Field(discriminator="loss")]


class Layer(Section):
    """One layer of one encoder."""

    encoder: Name
    layer: LayerNumber


class Side(Layer):
    """A layer under the name that it has in a space."""

    side: Name


class _OfSides(Section):
    fit: Fit

    def sides(self) -> tuple[Side, ...]:
        """Those of the space, in their order."""
        return tuple(side for _, side in self if isinstance(side, Side))

    def _problems(self) -> Iterator[str]:
        names = [side.side for side in self.sides()]
        if len(set(names)) < len(names):
            yield f"got sides {names}, expected names of their own"


class OfTwo(_OfSides):
    """A space of two sides of its own."""

    x: Side
    y: Side


class OfThree(_OfSides):
    """A space of three sides; ``pairs`` names those that are aligned, all by default."""

    x: Side
    y: Side
    z: Side
    pairs: Some[tuple[Name, Name]] | None = None

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        if isinstance(self.fit, ClosedForm):
            yield f"fit: got {self.fit.loss}, expected a trained objective, as a closed form has two sides"
        names = {side.side for side in self.sides()}
        pairs = self.pairs or ()
        if self.pairs and ({name for pair in pairs for name in pair} != names or any(x == y for x, y in pairs)):
            yield f"pairs: got {list(pairs)}, expected pairs of {sorted(names)}, each side in one"


class Training(Section):
    """Section ``training``: the schedule that all trained objectives share, and what everything is chosen by.

    ``whitening`` and ``weight_decay`` are a value or several to try, see `jam.align.setting`.
    """

    criterion: Criterion  # R@1 both ways, accuracy on hard negatives, or their mean
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    patience: Count
    weight_decay: Annotated[Some[NonNegative], OneOrMore]
    clip_norm: Positive
    temperature: Positive
    learn_temperature: bool
    whitening: Annotated[Some[Positive | None], OneOrMore]
    captions: Literal["sample", "mean", "max"]
