"""What aligned representations are held against, and the hypotheses that are judged by fixed rules."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from jam.params.encoders import EncoderSpec
from jam.params.fields import Count, Fraction, LayerNumber, Name, NonNegative, Positive, Section, Seed, Share, Some

KernelMetric = Literal["mutual_knn", "cka", "unbiased_cka", "cknna", "svcca", "cca", "rsa"]
# A section that a preset empties is one that is not wanted.
OrNone = BeforeValidator(lambda section: section or None)


class Tower(Section):
    """The autoencoder of the control, of one side alone; the rest of its schedule is that of ``training``."""

    hidden: tuple[Count, ...]
    dropout: Fraction
    learning_rate: Positive


class Ablated(Section):
    """Which ``words`` are deleted from captions, the ``attribute`` of the state that they tell, and others it is held
    ``against``; ``space`` names the objective that is trained with and without them.
    """

    space: Name
    attribute: Literal["digit", "colour", "size"]
    against: Some[Literal["digit", "colour", "size"]]
    words: Some[Annotated[str, Field(pattern=r"^\w+$")]]

    def _problems(self) -> Iterator[str]:
        if self.attribute in self.against:
            yield f"against: got {list(self.against)}, expected attributes other than {self.attribute}"


class Reference(Section):
    """Section ``reference``: an encoder that no space was made of, and which spaces are held against it.

    ``seed`` is one of the encoder's ``more_seeds``, the encoder itself where it is left out; without ``ablated`` no
    words are deleted.
    """

    encoder: Name
    seed: Seed | None = None
    layer: LayerNumber
    spaces: Some[Name]
    autoencoder: Tower
    ablated: Ablated | None = None

    def problems_with(self, encoders: dict[str, EncoderSpec], trained: Collection[str]) -> Iterator[str]:
        """What does not fit the encoders, and the names of the spaces that are trained."""
        if self.encoder not in encoders:
            yield f"reference.encoder: got {self.encoder!r}, expected one of {list(encoders)}"
            return
        spec = encoders[self.encoder]
        if self.seed is not None and (self.seed not in spec.more_seeds or self.layer != spec.layer):
            yield (
                f"reference: got seed {self.seed} and layer {self.layer} of {self.encoder}, whose further seeds are "
                f"{list(spec.more_seeds)}, kept at layer {spec.layer}"
            )
        asked = [*self.spaces, *([self.ablated.space] if self.ablated else [])]
        if unknown := [name for name in asked if name not in trained]:
            yield f"reference.spaces, ablated.space: got {unknown}, expected trained spaces among {list(trained)}"


class Linear(Section):
    """H1: of the first space's scores, none lies more than the ``margin`` below those of the space ``against``."""

    subject: Name
    against: Name
    metrics: Some[Literal["recall", "true_recall", "fine_recall", "hard_negatives"]]
    margin: NonNegative


class Performant(Section):
    """H2: nearer to the reference by this ``metric``, and the probe for ``label`` on ``data`` falls by no more than the
    ``margin``; a source of `Downstream` and one of its labels.
    """

    subject: Name
    metric: KernelMetric
    data: Name
    label: Name
    margin: NonNegative


class Mechanism(Section):
    """H3: nearer to the reference by this ``metric`` than with shuffled pairs, and words teach what they are about."""

    subject: Name
    metric: KernelMetric


class Hypotheses(Section):
    """Section ``hypotheses``: the rules; one that is left out is not judged."""

    level: Share
    linear: Linear | None = None
    performant: Performant | None = None
    mechanism: Mechanism | None = None

    def problems_with(
        self, reference: Reference | None, spaces: Collection[str], metrics: Collection[str]
    ) -> Iterator[str]:
        """What does not fit the section ``reference``, the spaces and the kernel metrics."""
        if self.linear and (odd := {self.linear.subject, self.linear.against} - set(spaces)):
            yield f"hypotheses.linear: got {sorted(odd)}, expected names among {list(spaces)}"
        for name, one in (("performant", self.performant), ("mechanism", self.mechanism)):
            if one is None:
                continue
            if reference is None or one.subject not in reference.spaces or one.metric not in metrics:
                held = list(reference.spaces) if reference else []
                yield (
                    f"hypotheses.{name}: got {one.subject} and {one.metric}, expected one of reference.spaces {held} "
                    f"and of kernels.metrics {list(metrics)}"
                )
        if self.mechanism and reference and reference.ablated is None:
            yield "hypotheses.mechanism: got no reference.ablated, expected the words that are deleted"
