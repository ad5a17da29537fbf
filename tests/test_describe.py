"""Options that check themselves: the kinds of values, whichever class declares them."""

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path

import pytest

from u2cut import options as declared
from u2cut.cli.evaluate import ReportOptions
from u2cut.describe import Options, option
from u2cut.errors import UsageError
from u2cut.evaluation.options import EvalOptions
from u2cut.options import (
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    MaskOptions,
    NetworkOptions,
    OutputOptions,
    Product,
    RenderOptions,
    RunOptions,
)
from u2cut.training.config import TrainConfig


class Fruit(StrEnum):
    APPLE = "apple"
    PEAR = "pear"


@dataclass(frozen=True, slots=True)
class Toy(Options):
    fruit: Fruit = field(default=Fruit.APPLE, metadata=option("A fruit."))
    count: int | None = field(default=None, metadata=option("How many.", "-c", "--count", min=1))
    share: float = field(default=0.5, metadata=option("A share.", min=0, max=1))
    place: Path | None = field(default=None, metadata=option("A place."))
    name: str = field(default="", metadata=option("A name."))
    loud: bool = field(default=False, metadata=option("Loud.", "--loud/--no-loud"))
    shares: list[float] = field(default_factory=list, metadata=option("Shares.", min=0, max=1))
    squared: int = field(default=0, metadata=option("Square.", parser=lambda text: int(text) ** 2))


@pytest.mark.parametrize(
    ("field_", "value", "said"),
    [
        ("fruit", "plum", "--fruit plum: give one of apple, pear"),
        ("count", 0, "--count 0: give a whole number of at least 1"),
        ("count", 1.5, "--count"),
        ("count", True, "--count"),
        ("share", math.nan, "--share nan: give a number from 0 to 1"),
        ("share", math.inf, "--share"),
        ("share", -0.1, "--share"),
        ("share", 1.1, "--share"),
        ("share", "half", "--share"),
        ("place", 3, "--place 3: give a path"),
        ("name", None, "--name"),
        ("loud", 1, "--loud 1: give true or false"),
        ("shares", [0.5, 2.0], "--shares 2.0"),
        ("shares", 0.5, "--shares 0.5: give a list"),
    ],
)
def test_a_wrong_value_is_refused_when_the_options_are_built(field_, value, said) -> None:
    with pytest.raises(UsageError) as caught:
        Toy(**{field_: value})
    assert str(caught.value).startswith(said)


def test_values_are_brought_to_their_fields_type() -> None:
    toy = Toy(fruit="pear", place="a/b", share=1, squared="7")
    assert toy.fruit is Fruit.PEAR
    assert toy.place == Path("a/b")
    assert (toy.share, toy.squared) == (1, 49)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: OutputOptions(overwrite=True, skip_existing=True), "--skip-existing"),
        (lambda: InputOptions(null=True), "--from-file"),
        (lambda: CutoutOptions(background="white", background_blur=3), "--background-blur"),
        (lambda: MaskOptions(alpha=True, trimap=True), "--trimap"),
        (lambda: NetworkOptions(model="u2net", weights=Path("w.pth")), "--weights"),
        (lambda: NetworkOptions(device="gpu"), "cuda:all"),
        (lambda: NetworkOptions(engine="tensorrt"), "openvino"),
        (lambda: NetworkOptions(precision="fp8"), "bf16"),
        (lambda: RunOptions(quiet=True, verbose=True), "--verbose"),
        (lambda: RenderOptions(Product.SALIENCY, edge=EdgeOptions("best")), "--matting"),
        (lambda: RenderOptions(Product.SALIENCY, edge=EdgeOptions(feather=2)), "--feather"),
        (lambda: RenderOptions(Product.TRIMAP, edge=EdgeOptions(threshold=0.4)), "--threshold"),
        (lambda: RenderOptions(Product.TRIMAP, edge=EdgeOptions(erode=2)), "--erode"),
        (lambda: ReportOptions(json=True, markdown=True), "--markdown"),
        (lambda: ReportOptions(worst=3), "--plots"),
        (lambda: EvalOptions(), "--data"),
        (lambda: TrainConfig(crop=400), "--crop"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(build, said) -> None:
    with pytest.raises(UsageError, match=said):
        build()


CLASSES = [
    kind
    for kind in (*vars(declared).values(), TrainConfig)
    if isinstance(kind, type) and issubclass(kind, Options) and kind is not Options
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_float_takes_nan_and_no_limit_is_passed(kind) -> None:
    for one in fields(kind):
        low, high = one.metadata.get("min"), one.metadata.get("max")
        several = str(one.type).startswith("list")
        wrong = [math.nan] if "float" in str(one.type) else []
        wrong += [low - 1] if low is not None else []
        wrong += [high + 1] if high is not None else []
        for value in wrong:
            with pytest.raises(UsageError):
                kind(**{one.name: [value] if several else value})
