"""What the server takes and what it refuses, asked in its own process; the network is a mean."""

import base64
import io
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from flows.versions.serving.app import Service
from flows.versions.serving.bodies import Body, Reading, read_any, read_invocation
from flows.versions.serving.intake import Intake
from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import (
    Batching,
    InService,
    Limits,
    Problem,
    RefusedError,
    ServedVersion,
)
from models.config.data import ImageForm
from models.datasets.reading import stack_images

with warnings.catch_warnings():
    # starlette 1.10 would have httpx2, which nothing else here asks for.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

FORM = ImageForm(image_size=4, channels=1)
LIMITS = Limits(request_bytes=20_000, images=5, requests=2, seconds=20, image_pixels=10_000)
NPY = {"Content-Type": "application/x-npy"}
Images = NDArray[np.uint8]


def brightness(images: Images) -> NDArray[np.float32]:
    """Probabilities of `dark` and `bright`: the mean of an image is that of `bright`."""
    means = images.mean((1, 2, 3), dtype=np.float32) / 255
    return np.stack([1 - means, means], axis=1)


@contextmanager
def asked(
    predict: Callable[[Images], NDArray[np.float32]] = brightness, limits: Limits = LIMITS
) -> Iterator[TestClient]:
    """A client of version 3, whose network is a function."""
    version = ServedVersion("shades", 3, "d" * 64, ("dark", "bright"), FORM, predict)
    service = Service(InService(version, follows="champion"), limits, Batching(), Metrics())
    with TestClient(service.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with asked() as client:
        yield client


def grey(level: int, side: int = 4) -> Images:
    return np.full((side, side), level, np.uint8)


def encoded(pixels: Images, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def saved(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


WHITE = encoded(grey(255))
WAYS: dict[str, dict[str, Any]] = {
    "png": {"content": WHITE, "headers": {"Content-Type": "image/png"}},
    "jpeg": {"content": encoded(grey(255), "JPEG"), "headers": {"Content-Type": "image/jpeg"}},
    "bytes": {"content": WHITE, "headers": {"Content-Type": "application/octet-stream"}},
    "as curl says": {
        "content": WHITE,
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "no type": {"content": WHITE},
    "form": {"files": {"file": ("a.png", WHITE, "image/png")}},
    "base64": {"json": {"images": [text(WHITE)]}},
    "data url": {"json": {"images": [f"data:image/png;base64,{text(WHITE)}"]}},
    "grey levels": {"json": {"images": [grey(255).tolist()]}},
    "grey levels as floats": {"json": {"images": [grey(255).astype(float).tolist()]}},
    "colours": {"json": {"images": [np.full((2, 3, 3), 255).tolist()]}},
    "array": {"json": {"inputs": [[grey(255).tolist()]]}},
    "npy": {"content": saved(grey(255)[None, None]), "headers": NPY},
}


@pytest.mark.parametrize("way", WAYS)
def test_an_image_may_be_sent_in_many_ways(client: TestClient, way: str) -> None:
    """White is bright, however it came; the answer names model, version, label, probabilities."""
    answered = client.post("/predict", **WAYS[way])

    assert answered.status_code == 200, answered.text
    assert answered.headers["X-Pitchpipe-Version"] == "3"
    assert answered.json() == {
        "model": "shades",
        "version": 3,
        "predictions": [
            {"label": "bright", "probability": 1, "probabilities": {"dark": 0, "bright": 1}}
        ],
    }


def test_many_at_once_are_answered_in_their_order(client: TestClient) -> None:
    """Of any sizes and kinds; forms in the order of their parts."""
    levels = [0, 255, 51, 204]
    files = [encoded(grey(level, side=4 + level % 7)) for level in levels]
    listed = [text(files[0]), grey(255).tolist(), text(files[2]), text(files[3])]

    for body in (
        {"json": {"images": listed}},
        {"files": [(f"f{number}", ("x", file)) for number, file in enumerate(files)]},
        {"content": saved(np.stack([grey(level)[None] for level in levels])), "headers": NPY},
    ):
        found = client.post("/predict", **body).json()["predictions"]
        shares = [round(one["probabilities"]["bright"], 4) for one in found]
        assert shares == [0, 1, 0.2, 0.8]
        assert [one["label"] for one in found] == ["dark", "bright", "dark", "bright"]


def test_pictures_are_brought_into_the_versions_form_as_predict_does() -> None:
    """Colour to grey, oblong to square, by its own way of resizing."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 6, 3), dtype=np.uint8)
    for resize in ("squeeze", "letterbox", "centre_crop"):
        form = ImageForm(image_size=4, channels=1, resize=resize, interpolation="bicubic")
        body = Body.of("image/png", encoded(pixels))

        found = read_any(body, Reading(form, LIMITS))

        assert np.array_equal(found, stack_images([pixels], form))


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [[grey(51).tolist()], [grey(255).tolist()]]},
        {"instances": [[grey(51).tolist()], [grey(255).tolist()]], "params": {"a": 1}},
        {"inputs": [[(grey(51) + 0.9).tolist()], [(grey(255) + 0.9).tolist()]]},
    ],
    ids=["inputs", "instances", "fractions are cut off"],
)
def test_mlflows_protocol_is_answered_as_by_mlflow(client: TestClient, document: Any) -> None:
    """Rows of probabilities under `predictions`, and nothing else in the body."""
    answered = client.post("/invocations", json=document)

    assert answered.status_code == 200, answered.text
    assert answered.json().keys() == {"predictions"}
    assert np.allclose(answered.json()["predictions"], [[0.8, 0.2], [0.0, 1.0]], atol=1e-6)


JSON_TYPE = {"Content-Type": "application/json"}
BAD: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no body": ("/predict", {}, 400, "cannot be decoded"),
    "no picture": ("/predict", {"content": b"GIF? no"}, 400, "image 0: cannot be decoded"),
    "cut off": ("/predict", {"content": WHITE[:40]}, 400, "image 0: cannot be decoded"),
    "many pixels": ("/predict", {"content": encoded(grey(0, 101))}, 400, "at most 10,000 in all"),
    "another type": (
        "/predict",
        {"content": b"a,b", "headers": {"Content-Type": "text/csv"}},
        415,
        "text/csv",
    ),
    "csv to MLflow's": (
        "/invocations",
        {"content": b"a,b", "headers": {"Content-Type": "text/csv"}},
        415,
        "application/json",
    ),
    "latin-1": (
        "/predict",
        {"content": b"{}", "headers": {"Content-Type": "application/json; charset=latin-1"}},
        415,
        "charset latin-1",
    ),
    "no json": ("/predict", {"content": b"{", "headers": JSON_TYPE}, 400, "is no JSON"),
    "nan": ("/predict", {"content": b'{"inputs": NaN}', "headers": JSON_TYPE}, 400, "is no JSON"),
    "deep": ("/predict", {"content": b"[" * 9999, "headers": JSON_TYPE}, 400, "is no JSON"),
    "a list": ("/invocations", {"json": [1]}, 400, "is a JSON list"),
    "no key": ("/invocations", {"json": {"images": []}}, 400, '"inputs" and "instances"'),
    "both keys": ("/invocations", {"json": {"inputs": 1, "instances": 1}}, 400, "is wanted"),
    "both kinds": ("/predict", {"json": {"inputs": 1, "images": []}}, 400, "send one of them"),
    "no list": ("/predict", {"json": {"images": "x"}}, 400, '"images": is a str'),
    "none": ("/predict", {"json": {"images": []}}, 400, "0 images"),
    "nothing": ("/invocations", {"json": {"inputs": []}}, 400, "inputs: is empty"),
    "too many": ("/predict", {"json": {"images": ["", "", "", "", "", ""]}}, 413, "at most 5"),
    "too many parts": (
        "/predict",
        {"files": [("f", ("x", WHITE))] * 6},
        413,
        "at most 5 are taken",
    ),
    "no base64": ("/predict", {"json": {"images": ["", "!"]}}, 400, "image 1: is no base64"),
    "ragged": ("/predict", {"json": {"images": [[[1], [1, 2]]]}}, 400, "image 0: is no array"),
    "words": ("/predict", {"json": {"inputs": [["a"]]}}, 400, "holds what is no number"),
    "nulls": ("/predict", {"json": {"inputs": [None]}}, 400, "holds what is no number"),
    "huge": ("/predict", {"json": {"inputs": [10**30]}}, 400, "inputs"),
    "of 0 to 1": ("/predict", {"json": {"images": [[[0.5]]]}}, 400, "pixel 0.5: is no whole"),
    "beyond": ("/predict", {"json": {"images": [[[256]]]}}, 400, "pixel 256: is not within"),
    "below": ("/invocations", {"json": {"inputs": [[[[-1]]]]}}, 400, "pixel -1: is not within"),
    "another shape": ("/predict", {"json": {"inputs": [[[[1, 2]]]]}}, 400, "is not (n, 1, 4, 4)"),
    "four channels": ("/predict", {"json": {"images": [[[[1, 2, 3, 4]]]]}}, 400, "(1, 1, 4)"),
    "no npy": ("/predict", {"content": WHITE, "headers": NPY}, 400, "is no array"),
    "floats": ("/predict", {"content": saved(np.zeros(3)), "headers": NPY}, 400, "is not uint8"),
    "objects": (
        "/predict",
        {"content": saved(np.array([{}], dtype=object)), "headers": NPY},
        400,
        "is not uint8",
    ),
    "claims more": (
        "/predict",
        {"content": saved(np.zeros((1, 1, 4, 4), np.uint8))[:-1], "headers": NPY},
        400,
        "has 15 bytes",
    ),
    "no form": (
        "/predict",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        400,
        "is no form",
    ),
    "no boundary": (
        "/predict",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "is no form",
    ),
    "long": ("/predict", {"content": b"x" * 20_001}, 413, "body of 20001 bytes"),
    "long, in pieces": (
        "/predict",
        {"content": iter([b"x" * 15_000] * 2)},
        413,
        "more than 20000 bytes",
    ),
    "no such path": ("/predictions", {}, 404, "POST /predict or /invocations"),
    "no such method": ("/version", {}, 405, "POST /version"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_is_said_as_json(client: TestClient, fault: str) -> None:
    """Value, rule and way out; never a traceback, and the next request is answered."""
    path, body, status, said = BAD[fault]

    answered = client.post(path, **body)

    assert answered.status_code == status, answered.text
    document = answered.json()
    assert document.keys() == {"error_code", "message", "value", "rule", "way_out"}
    assert all(document.values())
    assert said in document["message"]
    assert "Traceback" not in answered.text
    assert client.post("/predict", content=WHITE).status_code == 200


SENT = st.binary(max_size=200) | st.builds(
    lambda document: json.dumps(document).encode(),
    st.dictionaries(
        st.sampled_from(["images", "inputs", "instances"]),
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(max_size=9) | st.booleans(),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=12,
        ),
        max_size=2,
    ),
)


@settings(max_examples=50)
@given(
    kind=st.sampled_from(
        ["", "image/png", "application/json", "application/x-npy", "multipart/form-data;boundary=b"]
    ),
    content=SENT,
)
def test_no_body_does_anything_but_be_read_or_be_refused(kind: str, content: bytes) -> None:
    """Whatever it is called and holds."""
    for reader in (read_any, read_invocation):
        try:
            images = reader(Body.of(kind, content), Reading(FORM, LIMITS))
        except RefusedError:
            continue
        assert images.dtype == np.uint8
        assert images.shape[1:] == FORM.shape


class Held:
    """A network that does not answer before it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.free = threading.Event()

    def __call__(self, images: Images) -> NDArray[np.float32]:
        self.begun.set()
        self.free.wait(30)
        return brightness(images)


def test_a_full_server_says_when_to_come_again() -> None:
    """Two may be in it; the third is refused at once, and all who were let in are answered."""
    network = Held()
    with asked(network) as client, ThreadPoolExecutor(2) as clients:
        first = clients.submit(client.post, "/predict", content=WHITE)
        assert network.begun.wait(30)
        second = clients.submit(client.post, "/predict", content=WHITE)
        while "waiting_images 2.0" not in client.get("/metrics").text:
            pass  # the event loop's turn
        third = client.post("/predict", content=WHITE)
        network.free.set()
        codes = [first.result().status_code, second.result().status_code]

    assert (third.status_code, third.headers["Retry-After"]) == (503, "1")
    assert "2 requests of" in third.json()["message"]
    assert codes == [200, 200]


def test_pictures_that_grow_to_more_than_a_request_may_have_are_not_decoded() -> None:
    """A pixel each, 10,000 as the network takes them."""
    body = Body.of("application/json", json.dumps({"images": [[[0]]] * 3}).encode())
    with pytest.raises(RefusedError, match="3 images: have 30000 bytes") as refused:
        read_any(body, Reading(ImageForm(image_size=100, channels=1), LIMITS))
    assert refused.value.status == 413


def test_bytes_that_are_in_the_server_are_counted() -> None:
    """Bodies and images, until their request is answered."""
    intake = Intake(Limits(request_bytes=10))
    full = pytest.raises(RefusedError, match="of 160 bytes: are in the server")
    with intake.held(150), intake.held(10), full, intake.held(1):
        raise AssertionError
    with intake.held(160):
        pass


def test_who_waits_too_long_is_told() -> None:
    """503 after the limit; what nobody waits for any more is not predicted."""
    network = Held()
    limits = Limits(seconds=0.05)
    with asked(network, limits) as client:
        answered = client.post("/predict", content=WHITE)
        network.free.set()

    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "1")
    assert "0.05 s: the images were not predicted in that time" in answered.json()["message"]


def test_a_fault_of_the_network_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """500 as JSON; the log has the rest, and the server goes on."""

    def fails(images: Images) -> NDArray[np.float32]:
        if images.max() == 255:
            raise ZeroDivisionError("weights of /home/somebody")
        return brightness(images)

    with asked(fails) as client:
        answered = client.post("/predict", content=WHITE)
        after = client.post("/predict", content=encoded(grey(0)))
        counted = client.get("/metrics").text

    assert answered.status_code == 500
    assert "somebody" not in answered.text
    assert answered.json()["error_code"] == "INTERNAL_SERVER_ERROR"
    assert "weights of /home/somebody" in caplog.text
    assert after.status_code == 200
    assert 'pitchpipe_requests_total{code="500",path="/predict"} 1.0' in counted


def test_it_says_what_it_serves_and_counts_what_it_did() -> None:
    """/ping, /health, /version and /metrics, before and after a request, with and without fault."""
    with asked() as client:
        assert client.get("/ping").json() == {"status": "serving", "version": 3}
        assert client.get("/health").status_code == 200
        shown = client.get("/version").json()
        client.post("/predict", json={"images": [grey(0).tolist()] * 3})
        client.post("/predict", content=b"")
        metrics = client.get("/metrics")

    assert (shown["model"], shown["version"], shown["follows"]) == ("shades", 3, "champion")
    assert (shown["classes"], shown["problem"]) == (["dark", "bright"], None)
    assert shown["image"]["image_size"] == 4
    assert shown["limits"]["images"] == 5
    assert metrics.headers["Content-Type"].startswith("text/plain")
    lines = metrics.text.splitlines()
    assert {
        'pitchpipe_requests_total{code="200",path="/predict"} 1.0',
        'pitchpipe_requests_total{code="400",path="/predict"} 1.0',
        'pitchpipe_images_total{version="3"} 3.0',
        'pitchpipe_version{model="shades"} 3.0',
        "pitchpipe_following 1.0",
        "pitchpipe_waiting_images 0.0",
        "pitchpipe_batch_images_sum 3.0",
    } <= set(lines)


def test_a_problem_is_shown_by_version_and_metric() -> None:
    """While the alias cannot be followed."""
    version = ServedVersion("shades", 3, "d" * 64, ("dark", "bright"), FORM, brightness)
    in_service = InService(version, "champion", Problem("the registry cannot be read", since=0))
    service = Service(in_service, LIMITS, Batching(), Metrics())
    with TestClient(service.app()) as client:
        shown: httpx.Response = client.get("/version")
        counted = client.get("/metrics").text

    assert shown.json()["problem"] == "the registry cannot be read"
    assert shown.json()["problem_since"] == "1970-01-01T00:00:00+00:00"
    assert "pitchpipe_following 0.0" in counted.splitlines()
