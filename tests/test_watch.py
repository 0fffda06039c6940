"""The live page: what it serves and to whom, and, in a browser, what it shows while a job goes on and after."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.cli.watch import watched
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read_volume
from tomodiff.live import server
from tomodiff.live.folder import RunFolder
from tomodiff.live.ground import Ground
from tomodiff.live.plots import Plots
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.cryoem.output import keep_directions, keep_round
from tomodiff.recipes.run import Run

TOKEN = "a-token"
GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
"""WebGL without a GPU."""
SAMPLE = Path(__file__).parents[1] / "datasets" / "ct_sample.h5"


class Page:
    """A server of a run on a free port, in a thread."""

    def __init__(self, run: Path) -> None:
        uvicorn = pytest.importorskip("uvicorn")
        pytest.importorskip("starlette")
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        app = server.application(RunFolder(run), TOKEN)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def get(self, path: str, token: str = TOKEN) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Cookie": f"tomodiff={token}"})
        return urllib.request.urlopen(request, timeout=20)

    def code(self, path: str, token: str = TOKEN) -> int:
        try:
            with self.get(path, token) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return int(error.code)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listening.close()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done: ten iterations of the shipped sample."""
    out = tmp_path_factory.mktemp("watched") / "run"
    told = ["ct", "reconstruct", str(SAMPLE), "--method", "sirt", "--iterations", "10", "-o", str(out), "-q"]
    assert main([*told, "--set", "input.bin=4"]) == 0
    return out


@pytest.fixture(scope="module")
def page(done: Path) -> Iterator[Page]:
    made = Page(done)
    yield made
    made.close()


def begun(folder: Path) -> Run:
    """A run that has only just begun."""
    return Run.create(settings_from({"input.path": (str(SAMPLE), "the scan"), "output.path": (str(folder), "here")}))


def test_who_is_served(page: Page) -> None:
    for path in ("/", "/api/state", "/api/slice/0/3", "/static/page.js", "/report", "/api/events"):
        assert page.code(path, "another") == 403, path
    for path in (
        "/static/page.html", "/static/..%2Fserver.py", "/static/%2e%2e/server.py", "/api/slice/3/0", "/config.yml",
        "/api/slice/0/9999", "/api/picture/99", "/api/picture/-1", "/api/slice/0/..", "/api/plot/99", "/api/plot/-1",
    ):  # fmt: skip
        assert page.code(path) == 404, path
    call = HTTPConnection("127.0.0.1", page.port, timeout=20)
    call.request("GET", f"/?token={TOKEN}", headers={"Host": "elsewhere.example"})
    assert call.getresponse().status == 403
    call.close()


def test_what_is_served(page: Page, done: Path) -> None:
    with page.get("/api/state") as answer:
        state = json.load(answer)
    assert (
        state["status"]["state"] == "done"
        and "sirt" in state["settings"]
        and state["command"].startswith("python -m tomodiff")
    )
    volume, _, _ = read_volume(done / "volume.h5")
    assert state["slices"]["shape"] == list(volume.shape) and state["slices"]["whole"]
    for axis, index in ((0, 2), (1, 5), (2, 7)):
        with page.get(f"/api/slice/{axis}/{index}") as answer:
            shape = [int(n) for n in answer.headers["X-Shape"].split(",")]
            found = np.frombuffer(answer.read(), np.float32).reshape(shape)
        np.testing.assert_array_equal(found, volume.take(index, axis=axis))
    assert b"<html" in page.get("/report").read()


def test_files_that_grow(tmp_path: Path) -> None:
    """Half lines wait for their rest, broken ones are left out, a file that shrank is read anew."""
    folder, path = RunFolder(tmp_path), tmp_path / "metrics.jsonl"
    (tmp_path / "status.json").write_text(
        json.dumps({"state": "running", "host": socket.gethostname(), "pid": 1 << 30})
    )
    assert folder.status()["lost"]
    (tmp_path / "status.json").unlink()
    assert folder.metrics(0) == ([], 0) and folder.status()["state"] == "unknown" and folder.shown() is None
    path.write_text('{"iteration": 1}\n{"iteration": 2')
    first, at = folder.metrics(0)
    assert first == [{"iteration": 1}]
    path.write_text('{"iteration": 1}\n{"iteration": 2}\nbroken\n{"iteration": 3}\n')
    then, end = folder.metrics(at)
    assert then == [{"iteration": 2}, {"iteration": 3}] and end == path.stat().st_size
    path.write_text('{"iteration": 9}\n')
    assert folder.metrics(end)[0] == [{"iteration": 9}]


def test_slices_on_the_way(tmp_path: Path, rng: np.random.Generator) -> None:
    run, volume = begun(tmp_path / "run"), rng.random((6, 8, 10)).astype(np.float32)
    folder = RunFolder(run.path)
    run.show(volume, (1.0, 2.0, 2.0), "attenuation", "1/mm")
    run.show(2 * volume, (1.0, 2.0, 2.0), "attenuation", "1/mm")  # too soon after the first
    shown = folder.shown()
    assert shown is not None and not shown["whole"] and shown["index"] == [3, 4, 5] and shown["unit"] == "1/mm"
    np.testing.assert_array_equal(folder.slice(1, 4), volume[:, 4])
    run.conclude()
    assert folder.shown() is None and folder.status()["state"] == "done"


def test_figures_on_the_way(tmp_path: Path, rng: np.random.Generator) -> None:
    """Those that the run has kept arrays for, in the order of the report; drawn anew when it keeps them anew."""
    given = {"job": ("cryoem-refine", ""), "input.path": ("p.star", ""), "output.path": (str(tmp_path / "run"), "")}
    run = Run.create(settings_from(given))
    plots = Plots(run.path)
    assert Plots(tmp_path).shown() == plots.shown() == []
    with pytest.raises(DataError, match="figure 0"):
        plots.drawn(0, dark=False)
    keep_directions(run, np.broadcast_to(np.eye(3), (5, 3, 3)))
    assert [one["heading"] for one in plots.shown()] == ["Directions of view"]
    keep_round(run, 1, np.linspace(1, 0, 9), 2.0)
    first, second = plots.shown()
    assert [first["heading"], second["heading"]] == ["Round by round", "Directions of view"]
    before = plots.drawn(first["number"], dark=False)
    assert before.startswith(b"\x89PNG") and plots.drawn(first["number"], dark=True) != before
    keep_round(run, 2, np.linspace(1, 0.5, 9), 2.0)
    assert plots.shown()[0]["version"] != first["version"] and plots.shown()[1] == second
    assert plots.drawn(first["number"], dark=False) != before
    (run.path / "report_data" / "directions.npz").write_bytes(b"damaged")
    assert [one["heading"] for one in plots.shown()] == ["Round by round"]


def test_the_command_refuses(tmp_path: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path), "--no-browser"]) == 2
    assert "expected a run directory" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["watch", str(done), "--no-browser", "--port", str(taken.getsockname()[1])]) == 2
    assert "another one" in " ".join(capsys.readouterr().err.split())


def test_a_job_is_watched_until_it_has_ended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text("import webbrowser\nwebbrowser.open = print\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with watched(begun(tmp_path / "run").path, True):
            for _ in range(200):
                time.sleep(0.1)
                said = capfd.readouterr().out
                if "token=" in said:
                    break
        assert "http://127.0.0.1:" in said
        address = said.split("watch  ")[1].split()[0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=GL)
        yield browser
        browser.close()


def opened(chromium: Any, address: str, **options: Any) -> tuple[Any, list[str]]:
    """A page, and what goes wrong in it."""
    wrong: list[str] = []
    view = chromium.new_page(viewport={"width": 1280, "height": 1000}, **options)
    view.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.goto(address)
    return view, wrong


def playwright_expect() -> Any:
    """What waits for a page to become so."""
    from playwright.sync_api import expect

    return expect


@pytest.mark.browser
def test_a_run_that_is_done_in_a_browser(chromium: Any, page: Page) -> None:
    """Curves, slices by slider, keyboard and wheel, the window; the token leaves the address; no errors."""
    view, wrong = opened(chromium, page.address)
    expect = playwright_expect()
    view.wait_for_selector("#plot canvas")
    expect(view.locator("#slice")).to_have_attribute("data-index", re.compile(r"\d+"))
    assert view.inner_text("#state") == "done" and view.inner_text("#count") == "10 iterations"
    assert TOKEN not in view.url and view.title().startswith("done")
    grey = "document.getElementById('slice').toDataURL()"
    before, index = view.evaluate(grey), int(view.input_value("#index"))
    view.focus("#slice")
    view.keyboard.press("ArrowUp")
    expect(view.locator("#slice")).to_have_attribute("data-index", f"{index + 1}")
    after = view.evaluate(grey)
    assert after != before
    view.keyboard.press("+")
    assert view.evaluate(grey) != after
    view.locator("#index").fill("2")
    expect(view.locator("#slice")).to_have_attribute("data-index", "2")
    view.select_option("#axis", "2")
    shape = view.inner_text("#of").split()[:5:2]
    expect(view.locator("#slice")).to_have_attribute("height", f"{shape[0]}")
    assert view.get_attribute("#slice", "width") == shape[1]
    view.select_option("#curve", "relative_change")
    assert view.get_attribute("#report", "href") == "report" and view.is_visible("#report")
    assert "iteration" in view.inner_text("#said") or view.inner_text("#said").strip()
    assert not wrong, wrong
    view.close()


@pytest.mark.browser
def test_a_volume_in_space(chromium: Any, page: Page, done: Path) -> None:
    """NiiVue shows the volume that the run wrote, and what is clear changes the picture."""
    nibabel = pytest.importorskip("nibabel")
    volume, grid, _ = read_volume(done / "volume.h5")
    with page.get("/api/volume.nii") as answer:
        image = nibabel.Nifti1Image.from_bytes(answer.read())
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), volume)
    np.testing.assert_allclose(image.header.get_zooms(), np.broadcast_to(grid.spacing, (3,))[::-1], rtol=1e-6)
    expect = playwright_expect()
    view, wrong = opened(chromium, page.address)
    view.click("#render")
    expect(view.locator("#gl")).to_have_attribute("data-shown", re.compile("volume"), timeout=30000)
    first = view.locator("#gl").screenshot()
    view.locator("#from").fill("900")
    second = view.locator("#gl").screenshot()
    assert first != second and len(first) > 3000  # a picture of one colour packs to less
    assert not wrong, wrong
    view.close()


def crater(n: int = 60) -> np.ndarray:
    """A hole in the north-east, so that a map that is turned or mirrored shows."""
    y, x = np.mgrid[:n, :n] / (n - 1)
    return -40 * np.exp(-((x - 0.75) ** 2 + (y - 0.25) ** 2) / 0.01)


def test_the_sun_lights_the_ground(tmp_path: Path) -> None:
    """Heights as they were kept; the wall that faces the sun is the brighter; a low sun leaves shadow."""
    run = begun(tmp_path)
    ground = Ground(run.path)
    assert ground.shown() is None
    run.save_report_data("relief", {"spacing": [5.0, 5.0], "before": np.zeros((60, 60)), "after": crater()})
    shown = ground.shown()
    assert shown is not None and shown["shape"] == [60, 60] and shown["range"][0] == pytest.approx(-40, abs=0.2)
    assert np.array_equal(ground.heights(1), crater().astype(np.float32)) and not ground.heights(0).any()
    for azimuth, bright, dark in ((90, (15, 40), (15, 48)), (0, (19, 44), (11, 44))):  # the far wall faces the sun
        lit = ground.light(1, azimuth, 30).astype(int)
        assert lit[bright] > lit[0, 0] > lit[dark], azimuth
    assert (ground.light(1, 90, 3) == 0).any() and np.ptp(ground.light(0, 90, 30)) == 0
    for wrong in ((0, 90.0, 0.0), (0, float("nan"), 30.0), (2, 90.0, 30.0)):
        with pytest.raises(ConfigError, match="expected"):
            ground.light(*wrong)
    run.save_report_data("relief", {"spacing": [5.0, 5.0], "before": np.zeros((700, 9)), "after": np.zeros((700, 9))})
    assert ground.shown()["shape"] == [234, 3]  # type: ignore[index]


@pytest.mark.browser
def test_ground_in_space(chromium: Any, tmp_path: Path) -> None:
    """The sun, the divider and the keyboard change the picture; new heights of a run that goes on come alone."""
    run = begun(tmp_path)
    run.save_report_data("relief", {"spacing": [5.0, 5.0], "before": np.zeros((60, 60)), "after": crater()})
    served = Page(run.path)
    expect = playwright_expect()
    view, wrong = opened(chromium, served.address)
    field = view.locator("#ground")
    expect(field).to_have_attribute("data-version", re.compile(r"\d+"), timeout=30000)
    pictures = [field.screenshot()]
    view.locator("#azimuth").fill("90")
    expect(field).to_have_attribute("data-sun", "90 30")
    pictures.append(field.screenshot())
    view.locator("#swipe").fill("0")
    pictures.append(field.screenshot())
    view.locator("#stretch").fill("3")
    pictures.append(field.screenshot())
    view.focus("#ground")
    view.keyboard.press("ArrowLeft")
    pictures.append(field.screenshot())
    view.locator("#swipe").fill("1000")  # level ground alone, whatever the stretch
    pictures.append(field.screenshot())
    assert len(set(pictures)) == len(pictures) and len(pictures[2]) > len(pictures[-1])
    version = field.get_attribute("data-version")
    run.save_report_data("relief", {"spacing": [5.0, 5.0], "before": np.zeros((60, 60)), "after": 2 * crater()})
    expect(field).not_to_have_attribute("data-version", version, timeout=30000)
    assert view.inner_text("#extent").startswith("60 x 60 heights, -79")
    assert served.code("/api/light/1?azimuth=90&elevation=high") == 404 and served.code("/api/ground/2") == 404
    assert not wrong, wrong
    view.close()
    served.close()


@pytest.mark.browser
def test_a_run_that_goes_on_in_a_browser(chromium: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    """The curve grows, slices appear, warnings come first, and the end is told, without loading the page again."""
    run = begun(tmp_path / "run")
    own = Page(run.path)
    view, wrong = opened(chromium, own.address, color_scheme="dark")
    expect = playwright_expect()
    try:
        expect(view.locator("#state")).to_have_text("running")
        assert view.is_visible("#noplot")
        for n in range(1, 6):
            run.log_metrics({"iteration": n, "value": 1.0 / n})
        expect(view.locator("#count")).to_have_text("5 iterations")
        run.show(rng.random((6, 8, 10)), (1.0, 1.0, 1.0), "attenuation", "1/mm")
        expect(view.locator("#slice")).to_have_attribute("width", "10")
        for n in range(6, 9):
            run.log_metrics({"iteration": n, "value": 1.0 / n})
        for row in (3, 5):
            before = {"before": rng.random((20, 16)), "after": rng.random((20, 16)), "row": row}
            run.save_report_data("sinogram", before)
            expect(view.locator("#plots figcaption")).to_have_text(f"Sinogram of detector row {row}")
        expect(view.locator("#plots img")).to_have_js_property("complete", True)
        assert view.evaluate("document.querySelector('#plots img').naturalWidth") > 100
        run.warn("the beam was off <b>for</b> a while")
        expect(view.locator("#count")).to_have_text("8 iterations")
        view.wait_for_selector("#warnings li")
        assert "<b>for</b>" in view.inner_text("#warnings li")
        view.click("#sofar summary")
        inside = view.frame_locator("#sofar iframe")
        expect(inside.locator("h2", has_text="Convergence")).to_be_visible(timeout=30000)
        expect(inside.locator(".state")).to_have_text("running")
        run.conclude()
        expect(view.locator("#state")).to_have_text("done")
        dark, light = "rgb(15, 19, 24)", "rgb(244, 246, 248)"
        background = "getComputedStyle(document.body).backgroundColor"
        assert view.evaluate(background) == dark
        view.emulate_media(color_scheme="light")
        assert view.evaluate(background) == light
        assert not wrong, wrong
    finally:
        view.close()
        own.close()
