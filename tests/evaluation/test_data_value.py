"""What more images would bring: the power law, intervals, classes, capacity, the section."""

from pathlib import Path

import numpy as np
import pytest
from data_value_fixtures import SIZES, drawn, sized, value
from evaluation_fixtures import Sources
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import write_prepared

from flows.cli.display.data_value import parse_fractions, print_value
from models.config import CnnConfig, MlpConfig, TrialConfig
from models.errors import ConfigError
from models.evaluation.data_value.capacity import capacity_curve, scaled_network
from models.evaluation.data_value.class_values import value_alone, values_in_proportion
from models.evaluation.data_value.figures import draw_value
from models.evaluation.data_value.fitting import Trials, fit_power_law, hold_out
from models.evaluation.data_value.power_law import Estimate, PowerLaw
from models.evaluation.data_value.records import DataValue
from models.evaluation.report.data_value import (
    BEGIN,
    END,
    place_section,
    render_section,
    render_value_page,
)
from models.networks import ResnetConfig


def law(errors: tuple[float, ...], *, variance: float = 1e-10, falls: bool = True) -> PowerLaw:
    """Errors at SIZES that are known so well."""
    covariance = tuple(map(tuple, (variance * np.eye(len(errors))).tolist()))
    return PowerLaw(
        sizes=SIZES[: len(errors)],
        errors=errors,
        covariance=covariance,
        threshold=4.0,
        noise=0.001,
        falls=falls,
    )


def test_exact_errors_give_the_gain_worked_by_hand() -> None:
    """0.1 + 10 n^-0.5: from 4,000 to 16,000 images from 0.2581 to 0.1791."""
    errors = tuple(0.1 + 10 * size**-0.5 for size in SIZES)

    found = law(errors, variance=1e-6).gain(4000, 16_000)
    at = law(errors).error(16_000)

    assert found.value == pytest.approx(0.0791, abs=0.002)
    assert found.interval.low <= 0.0791 <= found.interval.high
    assert at.value == pytest.approx(0.1791, abs=0.003)
    assert law(errors).error(2000).value == pytest.approx(errors[2], abs=1e-3)


def test_no_fall_is_a_gain_of_nothing() -> None:
    """Where all sizes have one error the best curve is flat; a rise is none where none may be."""
    flat, rising = law((0.2, 0.2, 0.2, 0.2)), law((0.1, 0.15, 0.2, 0.25))

    assert flat.gain(4000, 8000).value == pytest.approx(0, abs=1e-6)
    assert rising.gain(4000, 8000).value == 0.0
    assert law((0.1, 0.15, 0.2, 0.25), falls=False).gain(4000, 8000).value < 0


@given(
    errors=st.lists(st.floats(0, 1), min_size=3, max_size=4).map(tuple),
    deviation=st.floats(1e-3, 0.3),
    times=st.floats(1.01, 4),
    falls=st.booleans(),
)
def test_an_interval_holds_its_value_and_stays_within_what_there_is(
    errors: tuple[float, ...], deviation: float, times: float, *, falls: bool
) -> None:
    """Whatever the errors are."""
    fitted = law(errors, variance=deviation**2, falls=falls)
    now = fitted.sizes[-1]

    gain, error = fitted.gain(now, times * now), fitted.error(times * now)

    for one, least in ((gain, 0 if falls else -1), (error, 0)):
        assert least - 1e-9 <= one.interval.low <= one.value <= one.interval.high <= 1 + 1e-9


def test_more_noise_is_a_wider_interval() -> None:
    """And more images to come are a greater gain."""
    errors = tuple(0.05 + 3 * size**-0.5 for size in SIZES)
    sure, unsure = law(errors, variance=1e-8), law(errors, variance=1e-4)

    first, second = sure.gain(4000, 8000).interval, unsure.gain(4000, 8000).interval
    assert second.high - second.low > first.high - first.low
    assert sure.gain(4000, 8000).value > sure.gain(4000, 5000).value > 0


@pytest.mark.parametrize(
    ("a", "b", "c", "images"), [(0.02, 5, 0.6, 300), (0.08, 2, 0.35, 1000), (0.001, 50, 1.0, 100)]
)
def test_intervals_cover_the_gain_of_simulated_power_laws(
    a: float, b: float, c: float, images: int
) -> None:
    """95 % ones at least 90 times in 100, of doubling the data and of the held-out fraction."""
    random = np.random.default_rng(0)
    true, covered, held = b * (4000**-c - 8000**-c), 0, 0
    for _ in range(30):
        trials = drawn(random, images=images, a=a, b=b, c=c)
        interval = fit_power_law(trials).gain(4000, 8000).interval
        checked = hold_out(trials)
        assert checked is not None
        covered += interval.low <= true <= interval.high
        held += checked.covered

    assert covered >= 27
    assert held >= 27


def test_trials_that_all_agree_are_not_taken_for_certainty() -> None:
    """No error among 20 images at any size leaves room for some."""
    none = [Trials(size, np.zeros((3, 20), bool)) for size in SIZES]

    found = fit_power_law(none, falls=False).gain(4000, 8000)

    assert found.value == pytest.approx(0)
    assert fit_power_law(none).mean_of(3, images=8000).interval.high > 0
    assert found.interval.high > 0


@pytest.mark.parametrize(
    "sizes",
    [
        [Trials(100, np.zeros((2, 5), bool)), Trials(200, np.zeros((2, 5), bool))],
        [Trials(size, np.zeros((2, 5), bool)) for size in (100, 300, 200)],
        [Trials(size, np.zeros((1, 5), bool)) for size in (100, 200, 300)],
        [Trials(size, np.zeros((2, 0), bool)) for size in (100, 200, 300)],
    ],
)
def test_what_says_nothing_is_refused(sizes: list[Trials]) -> None:
    """Two sizes, sizes out of order, one trial each, no images."""
    with pytest.raises(ValueError, match=r"sizes|trials|images"):
        fit_power_law(sizes)


def test_classes_are_sorted_by_what_they_gain(tmp_path: Path) -> None:
    """A class whose errors fall comes before one without any; alone, it says what all gain."""
    manifest = write_prepared(tmp_path)
    labels = np.repeat([0, 1, 2], 100)
    random = np.random.default_rng(1)
    sizes = []
    for images, error in ((6, 0.5), (12, 0.35), (25, 0.25), (50, 0.17)):
        wrong = random.random((3, 300)) < np.where(labels == 1, error, 0.01)
        sizes.append(Trials(float(images), wrong))

    found = values_in_proportion(sizes, labels, manifest, more=50)
    alone = value_alone("middle", sizes, labels, 1, more=None)

    assert found[0].name == "middle"
    assert found[0].gain.value > 0.02
    assert sum(one.more for one in found) in (49, 50, 51)
    assert not found[0].alone
    assert alone.more == alone.images == 50
    assert alone.accuracy is not None
    assert alone.accuracy.value < alone.gain.value
    assert "50 more `middle` images, alone: recall +" in alone.sentence


@pytest.mark.parametrize(
    ("now", "wider", "limit"),
    [
        ((0.30, 0.30), (0.15, 0.15), "network"),
        ((0.02, 0.20), (0.01, 0.20), "data"),
        ((0.20, 0.20), (0.20, 0.20), "neither shown"),
    ],
)
def test_the_capacity_curve_says_what_limits(
    now: tuple[float, float], wider: tuple[float, float], limit: str
) -> None:
    """A wider network that is better; a gap that it does not close; nothing beyond chance."""
    found = capacity_curve([sized(1.0, *now), sized(2.0, *wider, seed=1)])

    assert found.limit == limit
    assert "2 times the width" in found.text


def test_every_width_of_a_network_is_scaled() -> None:
    """At least to 1, and a network that has none is refused."""
    cnn = scaled_network(TrialConfig(network=CnnConfig(channels=(32, 64, 64))), 0.5).network
    mlp = scaled_network(TrialConfig(network=MlpConfig(hidden_units=1)), 0.25).network

    assert isinstance(cnn, CnnConfig)
    assert (cnn.channels, cnn.hidden_units) == ((16, 32, 32), 32)
    assert isinstance(mlp, MlpConfig)
    assert mlp.hidden_units == 1
    with pytest.raises(ConfigError, match="times as wide"):
        scaled_network(TrialConfig(network=ResnetConfig(width=4)), 0.25)


def test_a_record_is_read_back_and_says_what_new_images_promise() -> None:
    """Train gets its share of them; beyond as many again there is no saying."""
    made = value()

    read = DataValue.model_validate_json(made.model_dump_json())

    assert read == made
    assert read.expected(0) == Estimate.model_validate(
        {"value": 0.0, "interval": {"low": 0.0, "high": 0.0}}
    )
    assert read.expected(1000).value == pytest.approx(made.curve.gain(4000, 4800).value)
    assert read.expected(10**6) == made.curve.gain(4000, 8000)


def test_a_section_is_put_into_a_report_again_and_again(tmp_path: Path) -> None:
    """In place of the earlier one; names are escaped, and the page asks for nothing."""
    figures, page = draw_value(value()), tmp_path / "report.html"
    page.write_text(f"<p>before</p>{render_section(None, {})}<p>after</p>")

    for _ in range(2):
        assert place_section(page, value(), figures)
    text = page.read_text()
    page.write_text("<p>of an earlier release</p>")

    assert text.count("Value of data</h2>") == text.count(BEGIN) == text.count(END) == 1
    assert text.startswith("<p>before</p>")
    assert "<shirt>" not in text
    assert "&lt;shirt&gt;" in text
    assert not place_section(page, value(), figures)
    sources = Sources(render_value_page(value(), figures))
    assert len(sources.fetched) == 3
    assert all(one.startswith("data:image/svg+xml;base64,") for one in sources.fetched)
    assert draw_value(value()) == figures


def test_a_section_says_where_it_was_measured_on_other_images() -> None:
    """The report is about later ones."""
    page = render_section(value(), draw_value(value()), dataset="ef" * 32)

    assert "an earlier state of this dataset" in page


def test_the_terminal_says_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Sizes, gains, classes, capacity, the page."""
    print_value(value(), tmp_path / "page.html")

    said = " ".join(capsys.readouterr().out.split())
    assert "are expected to bring" in said
    assert "400 more `<shirt>` images, alone: recall" in said
    assert "The data limit" in said


@pytest.mark.parametrize("text", ["", "0.5", "0.5,0.25", "0.1,1", "0,0.5", "a,b", "0.2,0.2"])
def test_fractions_ascend_between_nothing_and_all(text: str) -> None:
    """Two at least: with the whole they are three."""
    with pytest.raises(ConfigError, match="--fractions"):
        parse_fractions(text)
