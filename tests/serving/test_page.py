"""The page, in a real browser: what somebody sees, by mouse, by keyboard, on a phone, when something is wrong."""

import json
import re
import shutil
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from dreem_case.api import create_app, make_app
from dreem_case.ecg.simulate import write_records
from dreem_case.events.clock import wall_offsets, zone_of
from dreem_case.events.series import make_series
from dreem_case.events.series_files import write_series
from dreem_case.nights.plots import QUALITY_COLORS
from dreem_case.nights.sleep_statistics import sleep_statistics
from dreem_case.nights.stages import DISPLAY_ORDER, EPOCH_S, STAGE_COLORS, STAGES, Stage
from dreem_case.nights.store import RecordNotFound, open_store
from dreem_case.serving.answers import Answer, Busy
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import NightRefused
from dreem_case.serving.settings import Settings
from dreem_case.staging.clean import Quality
from tests.conftest import ROOT, until
from tests.support.browser import TEXT_CONTRASTS

PAGE = ROOT / "dreem_case" / "page"
ORDER = [stage.name for stage in DISPLAY_ORDER]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LONG = "a-name-as-long-as-a-store-allows_" + "0123456789" * 9 + "01234"
BUSY_FOR = 2  # requests


# Servers: the real one on short nights, and one whose answers are made up for what is rare.


@contextmanager
def served(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def store(short_nights, tmp_path_factory):
    """Short nights, and a file that is none."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copytree(short_nights, folder, dirs_exist_ok=True)
    (folder / "h5" / "torn.h5").write_bytes(b"not HDF5")
    return open_store(folder)


@pytest.fixture(scope="module")
def site(store, short_model, tmp_path_factory):
    """Address of the real app."""
    cache = tmp_path_factory.mktemp("cache")
    app = create_app(Settings(store=str(store.folder), model=str(short_model), cache=str(cache)))
    with served(app) as address:
        yield address


def fetched(url: str):
    with urlopen(url, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def scored(site, store) -> dict:
    """The details of the first night, from the real app."""
    return fetched(f"{site}/hypnogram/{store.records()[0]}/details")


def of_length(details: dict, record: str, n_epochs: int, **changes) -> dict:
    """Repeat or cut a night to a number of epochs."""
    def resized(values):
        return (values * (n_epochs // len(values) + 1))[:n_epochs]

    names = ("stages", "probabilities", "confidence", "review", "usable", "bridged")
    by_epoch = {name: resized(details[name]) for name in names}
    channels = [c | {name: resized(c[name]) for name in ("quality", "weight")} for c in details["channels"]]
    changed = details | by_epoch | {"record": record, "n_epochs": n_epochs, "channels": channels} | changes
    return changed | {"statistics": statistics_of(changed["stages"])}


def statistics_of(stages: list[str]) -> dict:
    numbers = vars(sleep_statistics([Stage[name] for name in stages], Stage.WAKE, Stage.REM, STAGES, EPOCH_S)).copy()
    by_stage = {Stage(code).name: minutes for code, minutes in numbers.pop("stage_min").items()}
    return {name: None if value != value else value for name, value in numbers.items()} | {"stage_min": by_stage}


class MadeUp:
    """Answers to order, in the place of `Answers`."""

    source = "nights made up for a test"

    def __init__(self, documents: dict, extra_records: tuple = ()):
        self.documents, self.names = documents, sorted([*documents, *extra_records])
        self.store, self.pool, self.asked = self, SimpleNamespace(alive=True), []

    def records(self, after="", limit=None):
        return [name for name in self.names if name > after][:limit]

    def key(self, record):
        return record

    def get(self, record):
        self.asked.append(record)
        if record == "always-busy" or (record.startswith("busy") and self.asked.count(record) <= BUSY_FOR):
            raise Busy(retry_after_s=1 if record == "busy" else 30)
        if record == "expensive":
            raise NightRefused(record, "too_expensive", "expensive: expected less, found more")
        if record not in self.documents:
            raise RecordNotFound(record)
        details = self.documents[record]
        stages = details["stages"]
        if record == "changing" and self.asked.count(record) == 1:
            stages = ["WAKE"] * len(stages)
        return Answer(record, "1", json.dumps(stages).encode(), json.dumps(details).encode(), from_cache=True)


@pytest.fixture(scope="module")
def documents(scored) -> dict:
    lost = [epoch not in (3, *range(40, 50)) for epoch in range(80)]
    markup = ["<img src=x onerror=alert(1)> & <b>bold</b>"]
    return {
        "one-epoch": of_length(scored, "one-epoch", 1),
        "awake": of_length(scored, "awake", 80, stages=["WAKE"] * 80, feature_shift=None, review=[False] * 80),
        "day": of_length(scored, "day", 2880),
        "eight-hours": of_length(scored, "eight-hours", 960),
        "lossy": of_length(scored, "lossy", 80, usable=lost),
        "doubtful": of_length(scored, "doubtful", 80, review=[epoch in (3, *range(40, 50)) for epoch in range(80)]),
        "markup": of_length(scored, "markup", 80, notes=markup, source="<i>nights</i>"),
        LONG: of_length(scored, LONG, 80),
        **{name: of_length(scored, name, 80) for name in ("always-busy", "busy", "busy-long", "changing")},
    }


@pytest.fixture(scope="module")
def answers(documents) -> MadeUp:
    return MadeUp(documents)


@pytest.fixture(scope="module")
def made_up(answers):
    """Address of made-up answers behind the real app."""
    with served(make_app(answers, Metrics())) as address:
        yield address


# Visits: whatever a test does, no page may ask another host, fail, or break its own security policy.


@pytest.fixture
def serve(monkeypatch):
    """Serve an app until its pages are closed: what they still ask is answered, by what was patched for the test."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(served(app))


@pytest.fixture
def visit(browser, serve):
    """Open a page; at the end check what it asked for and what its console says."""
    contexts, complaints, requests = [], [], []

    def open_page(url: str, ready: str = "main", **options):
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        context.set_default_timeout(60_000)  # ms: a busy machine is no fault of the page
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append((urlsplit(url).netloc, urlsplit(request.url).netloc)))
        page.goto(url)
        page.locator(ready).first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    refused = re.compile(r"Failed to load resource: the server responded with a status of (404|422|503)|ERR_FAILED")
    assert [text for text in complaints if not refused.search(text)] == []
    assert [pair for pair in requests if pair[0] != pair[1]] == []


NIGHT = "#night:not(.pending)"  # all of a night is there
PROBLEM = ".notice.problem"


def texts(page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def drawn(page, selector: str) -> list[str]:
    """Return the `d` of every path that matches."""
    return page.eval_on_selector_all(selector, "paths => paths.map(path => path.getAttribute('d'))")


def level_by_epoch(d: str) -> list[float]:
    """Follow a stepped path: its height in each epoch."""
    levels, level, x = [], None, 0
    for command, first, second in re.findall(r"([MVH])([\d.]+)(?: ([\d.]+))?", d):
        if command == "M":
            x, level = int(first), float(second)
        elif command == "V":
            level = float(first)
        else:
            levels += [level] * (int(first) - x)
            x = int(first)
    return levels


def epochs_of(d: str) -> list[int]:
    """List the epochs that a path of bands or blocks covers."""
    return [epoch for start, stop in re.findall(r"M(\d+) [\d.]+H(\d+)", d) for epoch in range(int(start), int(stop))]


# The list


def test_the_list_shows_every_night_in_the_stores_order(site, store, visit):
    page = visit(site, "#nights a")
    assert texts(page, "#nights a") == store.records()
    assert page.locator("#source").inner_text() == store.source
    assert page.locator("#pages").is_hidden() and page.locator("#open").is_hidden()


def test_a_row_leads_to_its_night_and_back(site, store, visit):
    page = visit(site, "#nights a")
    page.get_by_role("link", name=store.records()[1]).click()
    page.locator(NIGHT).wait_for()
    assert page.locator("h1").inner_text() == store.records()[1]
    assert page.locator("#source").inner_text() == store.source
    page.get_by_role("link", name="Next night").click()
    page.wait_for_url(f"**/night/{store.records()[2]}")
    page.get_by_role("link", name="All nights").click()
    page.locator("#nights a").first.wait_for()


def test_the_last_night_has_no_next(made_up, documents, visit):
    page = visit(f"{made_up}/night/{max(documents)}", NIGHT)
    with page.expect_response("**/records?**"):
        page.reload()
    page.locator(NIGHT).wait_for()
    assert page.locator("#next-night").is_hidden()


def test_a_long_list_is_walked_page_by_page(serve, visit, documents):
    names = [f"night-{number:04d}" for number in range(230)]
    answers = MadeUp({"night-0150": documents["lossy"]}, extra_records=(*names[:150], *names[151:]))
    address = serve(make_app(answers, Metrics()))
    page, seen = visit(address, "#nights a"), []
    for _ in range(3):
        seen += texts(page, "#nights a")
        if page.locator("#next-page").is_visible():
            page.get_by_role("link", name="Next page").click()
            page.locator(f"text={names[len(seen)]}").wait_for()
    assert seen == names
    page.get_by_role("link", name="First page").click()
    page.locator(f"text={names[0]}").wait_for()
    page.get_by_label("Open a night by its name").fill("night/0150")
    page.keyboard.press("Enter")
    assert page.locator("#name:invalid").count() == 1  # no record is called so: the page stays, and says why
    page.get_by_label("Open a night by its name").fill(" night-0150")
    page.keyboard.press("Enter")
    page.locator(NIGHT).wait_for()


def test_an_empty_store_says_so(serve, visit):
    address = serve(make_app(MadeUp({}), Metrics()))
    page = visit(address, ".notice.message")
    assert "No nights here yet" in page.locator(".notice").inner_text()
    assert page.locator("#source").inner_text() == MadeUp.source


# The drawings


@pytest.mark.parametrize("number", range(3))
def test_the_hypnogram_is_drawn_as_it_was_answered(site, store, visit, number):
    record = store.records()[number]
    stages = fetched(f"{site}/hypnogram/{record}")
    page = visit(f"{site}/night/{record}", NIGHT)
    (trace,) = drawn(page, "#hypnogram .trace")
    assert [ORDER[int(level)] for level in level_by_epoch(trace)] == stages
    for name in ORDER:
        (band,) = drawn(page, f"#hypnogram .band.stage-{name}")
        assert epochs_of(band) == [epoch for epoch, stage in enumerate(stages) if stage == name]


def test_wake_stands_on_top_and_each_stage_at_its_label(made_up, visit):
    page = visit(f"{made_up}/night/day", NIGHT)
    assert texts(page, "#stage-axis span") == ORDER
    labels = [page.locator("#stage-axis span").nth(row).bounding_box() for row in range(5)]
    middles = [box["y"] + box["height"] / 2 for box in labels]
    assert middles == sorted(middles)
    box = page.locator("#hypnogram svg").bounding_box()
    rows = [box["y"] + (row + 0.5) / 5 * box["height"] for row in range(5)]  # where the paths' levels lie
    assert middles == pytest.approx(rows, abs=2)


@pytest.mark.parametrize(
    ("record", "unit", "marks"),
    [
        ("eight-hours", "hours", {str(hour): hour / 8 for hour in range(9)}),
        ("day", "hours", {str(hour): hour / 24 for hour in range(0, 25, 2)}),
        ("lossy", "h:min", {f"0:{minute:02d}": minute / 40 for minute in range(0, 41, 10)}),
        ("one-epoch", "min:s", {"0:00": 0, "0:30": 1}),
    ],
)
def test_the_time_axis_counts_from_the_start(made_up, visit, record, unit, marks):
    page = visit(f"{made_up}/night/{record}", NIGHT)
    axis, plot = page.locator(".time").first, page.locator("#hypnogram svg").bounding_box()
    assert axis.locator("> span").inner_text() == unit
    found = {}
    for mark in axis.locator(".mark").all():
        box = mark.bounding_box()
        found[mark.inner_text()] = (box["x"] + box["width"] / 2 - plot["x"]) / plot["width"]
    assert found == pytest.approx(marks, abs=0.002)


def test_the_probabilities_are_stacked_in_the_hypnograms_order(site, store, visit):
    record = store.records()[0]
    details = fetched(f"{site}/hypnogram/{record}/details")
    page = visit(f"{site}/night/{record}", NIGHT)
    areas = drawn(page, "#probabilities .area")
    columns = [details["stage_names"].index(name) for name in ORDER]
    for place, area in enumerate(areas):
        above = [sum(row[column] for column in columns[:place]) for row in details["probabilities"]]
        assert level_by_epoch(area) == pytest.approx(above, abs=1e-4)
    assert [key.strip() for key in texts(page, "#stage-key > span")] == ORDER


def test_every_channel_has_a_row_with_its_quality(site, store, visit):
    record = store.records()[0]
    channels = fetched(f"{site}/hypnogram/{record}/details")["channels"]
    page = visit(f"{site}/night/{record}", NIGHT)
    rows = page.locator("#quality svg")
    assert rows.count() == len(channels)
    for row, channel, label in zip(rows.all(), channels, texts(page, "#channel-axis > span"), strict=True):
        share = sum(value == "GOOD" for value in channel["quality"]) / len(channel["quality"])
        assert label == f"{channel['name']} {shown(100 * share, 0, ' %')}"
        for quality in Quality:
            expected = [epoch for epoch, value in enumerate(channel["quality"]) if value == quality.name]
            assert epochs_of(row.locator(f".quality-{quality.name}").get_attribute("d")) == expected


def test_epochs_without_usable_eeg_are_shaded(made_up, documents, visit):
    page = visit(f"{made_up}/night/lossy", NIGHT)
    (shade,) = drawn(page, "#hypnogram .unusable")
    assert epochs_of(shade) == [3, *range(40, 50)]
    assert "no usable EEG" in page.locator("#hypnogram-key").inner_text()
    page.locator("#epoch").focus()
    page.keyboard.press("End")
    for _ in range(80 - 45):
        page.keyboard.press("ArrowLeft")
    assert "no usable EEG" in page.locator("#readout").inner_text()


def test_epochs_to_review_are_marked_told_and_counted(made_up, visit):
    page = visit(f"{made_up}/night/doubtful", NIGHT)
    (marks,) = drawn(page, "#review .review")
    assert epochs_of(marks) == [3, *range(40, 50)]
    assert page.locator("#summary").inner_text().endswith("Marked for review: 11 (13.8 %) of the epochs.")
    page.locator("#epoch").focus()
    page.keyboard.press("Home")
    assert "to review" not in page.locator("#readout").inner_text()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "to review" in page.locator("#readout").inner_text()
    assert "to review" in page.locator("#epoch").get_attribute("aria-valuetext")


def test_a_night_that_changes_between_two_requests_is_shown_as_it_is_now(made_up, documents, visit):
    page = visit(f"{made_up}/night/changing", NIGHT)
    (trace,) = drawn(page, "#hypnogram .trace")
    assert [ORDER[int(level)] for level in level_by_epoch(trace)] == documents["changing"]["stages"]


def test_the_page_draws_with_the_librarys_stages_and_colours(made_up, visit):
    page = visit(f"{made_up}/night/day", NIGHT, color_scheme="light")
    constants = page.evaluate("import('/page/stages.js').then(module => ({...module}))")
    assert constants == {"EPOCH_S": EPOCH_S, "DISPLAY_ORDER": ORDER, "QUALITIES": [quality.name for quality in Quality]}
    colours = {f"stage-{stage.name}": colour for stage, colour in STAGE_COLORS.items()}
    colours |= {f"quality-{quality.name}": QUALITY_COLORS[quality] for quality in Quality}
    for name, colour in colours.items():
        found = page.eval_on_selector(f"path.{name}", "path => getComputedStyle(path).color")
        assert [int(part) for part in re.findall(r"\d+", found)] == list(bytes.fromhex(colour[1:])), name


# The figures


def shown(value: float | None, digits: int, unit: str = "") -> str:
    """Write a number as a browser does, which rounds halves up."""
    return "–" if value is None else f"{Decimal(value).quantize(Decimal(10) ** -digits, ROUND_HALF_UP)}{unit}"


def share_flagged(details: dict) -> float:
    return 100 * (details["review"].count(True) / details["n_epochs"])


def figures(page, table: str) -> dict[str, list[str]]:
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator(f"#{table} tbody tr").all()]
    return {name.strip(): cells for name, *cells in rows}


@pytest.mark.parametrize("record", ["eight-hours", "awake", "one-epoch"])
def test_the_statistics_are_those_of_the_details(made_up, visit, record):
    details = fetched(f"{made_up}/hypnogram/{record}/details")
    page, statistics = visit(f"{made_up}/night/{record}", NIGHT), details["statistics"]
    minutes = {name: shown(value, 1, " min") for name, value in statistics.items() if name != "stage_min"}
    assert figures(page, "statistics") == {
        "Recorded time with usable EEG": [minutes["recorded_min"]],
        "Unscored time, in no other figure": [minutes["unscored_min"]],
        "Total sleep time (TST)": [minutes["sleep_min"]],
        "Sleep efficiency": [shown(100 * statistics["efficiency"], 1, " %")],
        "Sleep onset latency": [minutes["onset_latency_min"]],
        "Wake after sleep onset (WASO)": [minutes["waso_min"]],
        "REM latency from sleep onset": [minutes["rem_latency_min"]],
    }
    expected = {}
    for name in ORDER:
        in_stage, asleep = statistics["stage_min"][name], statistics["sleep_min"]
        share = None if name == "WAKE" or not asleep else 100 * (in_stage / asleep)
        expected[name] = [shown(in_stage, 1), shown(share, 1, " %")]
    assert figures(page, "stage-times") == expected
    assert figures(page, "scoring") == {
        "Epochs": [f"{details['n_epochs']} of 30 s"],
        "Epochs without usable EEG, unscored": [str(details["usable"].count(False))],
        "Epochs staged by their neighbours": [str(details["bridged"].count(True))],
        "Epochs to review": [f"{details['review'].count(True)} ({shown(share_flagged(details), 1, ' %')})"],
        "Mean confidence": [shown(100 * (sum(details["confidence"]) / details["n_epochs"]), 1, " %")],
        "Distance from the training nights": [shown(details["feature_shift"], 2, " spreads")],
        "Model": [details["model_version"]],
    }


def test_the_night_is_summed_up_in_words(made_up, documents, visit):
    page = visit(f"{made_up}/night/eight-hours", NIGHT)
    words, statistics = page.locator("figcaption").inner_text(), documents["eight-hours"]["statistics"]
    assert words.startswith("8 h recorded, ")
    assert f"({shown(100 * statistics['efficiency'], 1, ' %')})" in words
    for name, minutes in statistics["stage_min"].items():
        hours, rest = divmod(minutes, 60)
        told = " ".join(f"{value:g} {unit}" for value, unit in [(hours, "h"), (rest, "min")] if value) or "0 min"
        assert f"{name} {told}" in words
    assert page.locator("#epoch").get_attribute("aria-describedby") == "summary"
    assert page.get_by_role("figure", name="eight-hours").count() == 1


def test_a_night_without_sleep_says_so(made_up, visit):
    page = visit(f"{made_up}/night/awake", NIGHT)
    assert page.locator("#summary").inner_text() == "40 min recorded, no sleep found."


def test_notes_and_sources_are_text_and_never_markup(made_up, documents, visit):
    page = visit(f"{made_up}/night/markup", NIGHT)
    assert texts(page, "#notes li") == documents["markup"]["notes"]
    assert page.locator("main img, #notes b, #source i").count() == 0


# Reading epochs


def reading(details: dict, epoch: int) -> tuple[str, str]:
    minutes, seconds = divmod(epoch * EPOCH_S, 60)
    place = f"Epoch {epoch + 1} of {details['n_epochs']}, {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return place, f"{details['stages'][epoch]} {shown(100 * details['confidence'][epoch], 0, ' %')}"


def test_epochs_are_read_by_keyboard(made_up, documents, visit):
    page, details = visit(f"{made_up}/night/eight-hours", NIGHT), documents["eight-hours"]
    slider = page.get_by_role("slider", name="Epoch")
    for _ in range(10):
        page.keyboard.press("Tab")
        if slider.evaluate("slider => slider === document.activeElement"):
            break
    for key, epoch in [("ArrowRight", 1), ("ArrowRight", 2), ("End", 959), ("ArrowLeft", 958), ("Home", 0)]:
        page.keyboard.press(key)
        told = slider.get_attribute("aria-valuetext")
        assert all(part in told for part in reading(details, epoch))
        assert all(part in page.locator("#readout").inner_text() for part in reading(details, epoch))
        lines = page.eval_on_selector_all(".cursor", "lines => lines.map(line => line.getAttribute('transform'))")
        assert set(lines) == {f"translate({epoch + 0.5})"}


def test_epochs_are_read_by_pointing_at_any_drawing(made_up, documents, visit):
    page, details = visit(f"{made_up}/night/eight-hours", NIGHT), documents["eight-hours"]
    height = page.locator("#readout").bounding_box()["height"]
    for drawing, epoch in [("#hypnogram", 240), ("#probabilities", 0), ("#quality", 959)]:
        box = page.locator(f"{drawing} svg").first.bounding_box()
        page.mouse.move(box["x"] + (epoch + 0.5) / 960 * box["width"], box["y"] + box["height"] / 2)
        assert all(part in page.locator("#readout").inner_text() for part in reading(details, epoch))
        assert page.locator("#readout").bounding_box()["height"] == height  # nothing jumps below the pointer


def test_epochs_are_read_by_touch(made_up, documents, visit):
    page = visit(f"{made_up}/night/lossy", NIGHT, viewport=PHONE, has_touch=True, is_mobile=True)
    box = page.locator("#hypnogram svg").bounding_box()
    page.locator("#hypnogram svg").tap(position={"x": 40.5 / 80 * box["width"], "y": 20})
    told = page.locator("#readout").inner_text()  # of an epoch without usable EEG
    assert reading(documents["lossy"], 40)[0] in told and "for want of a stage" in told


def test_what_is_read_of_an_epoch_is_shown_whole_however_the_text_is_set(made_up, visit):
    """WCAG 2.2 AA asks for text of twice the size, and for spaces as wide as these."""
    page = visit(f"{made_up}/night/lossy", NIGHT)
    page.evaluate("""() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(`html { font-size: 200% } p { margin-bottom: 2em !important }
        * { letter-spacing: 0.12em !important; word-spacing: 0.16em !important; line-height: 1.5 !important }`);
      document.adoptedStyleSheets = [sheet];
    }""")
    page.locator("#epoch").focus()
    inside = """(lines) => lines.every((line) => {
      const [own, around] = [line, line.parentElement].map((element) => element.getBoundingClientRect());
      return line.scrollWidth <= line.clientWidth && own.top >= around.top && own.bottom <= around.bottom;
    })"""
    for screen in SCREENS:
        page.set_viewport_size(screen)
        assert page.locator("#readout p").count() == 3
        assert page.eval_on_selector_all("#readout p", inside)


# Waiting, and what is wrong


@pytest.mark.parametrize(("name", "words", "code"), [
    ("nobody", "no night of this name", "record_not_found"),
    ("torn", "This night cannot be staged", "unreadable_file"),
])  # fmt: skip
def test_an_unknown_night_and_a_file_that_is_none_are_told_apart(site, store, visit, name, words, code):
    page = visit(f"{site}/night/{name}", PROBLEM)
    told = page.locator(".notice").inner_text()
    assert words in told and code in told
    assert page.locator("#night").is_hidden() and page.get_by_role("button").count() == 0
    page.locator("#source", has_text=store.source).wait_for()


def test_a_night_that_was_too_much_can_be_tried_again(made_up, answers, visit):
    page = visit(f"{made_up}/night/expensive", PROBLEM)
    assert "too_expensive" in page.locator(".notice").inner_text()
    n_asked = answers.asked.count("expensive")
    page.get_by_role("button", name="Try again").click()
    page.locator(PROBLEM).wait_for()
    assert until(lambda: answers.asked.count("expensive") > n_asked)


@pytest.fixture
def stopped_clock(made_up, visit):
    """A page on which no time passes before the test says so."""
    page = visit(made_up, "#nights a")
    page.clock.install(time=0)
    page.clock.pause_at(1)
    return page


def test_a_busy_server_is_asked_again_when_it_says(made_up, answers, stopped_clock):
    page = stopped_clock
    page.goto(f"{made_up}/night/busy")
    page.locator(PROBLEM).wait_for()
    assert "Trying again in 1 s." in page.locator(".notice").inner_text()
    page.clock.resume()
    page.locator(NIGHT).wait_for()
    page.locator(".notice").wait_for(state="detached")
    assert answers.asked.count("busy") == BUSY_FOR + 2  # hypnogram and details


def test_who_does_not_want_to_wait_can_try_at_once_by_keyboard(made_up, stopped_clock):
    page = stopped_clock
    page.goto(f"{made_up}/night/busy-long")
    page.locator(PROBLEM).wait_for()
    for left in reversed(range(BUSY_FOR)):
        assert "Trying again in 30 s." in page.locator(".notice").inner_text()
        button = page.get_by_role("button", name="Try now").element_handle()
        button.focus()
        page.keyboard.press("Enter")
        if left:  # the answer is another refusal, and its button takes the place of the first
            page.wait_for_function("button => !button.isConnected", arg=button)
            assert page.evaluate("document.activeElement.textContent") == "Try now"
    page.locator(NIGHT).wait_for()


def test_a_server_that_is_gone_is_told_and_can_be_tried_again(made_up, visit):
    page = visit(made_up, "#nights a")
    page.route("**/hypnogram/**", lambda route: route.abort())
    page.goto(f"{made_up}/night/lossy")
    page.locator(PROBLEM).wait_for()
    assert "does not answer" in page.locator(".notice").inner_text()
    page.unroute("**/hypnogram/**")
    page.get_by_role("button", name="Try again").click()
    page.locator(NIGHT).wait_for()


def test_a_proxys_error_page_is_told_as_what_it_is(made_up, visit):
    page = visit(made_up, "#nights a")
    page.route("**/hypnogram/**", lambda route: route.fulfill(status=503, body="<h1>upstream</h1>"))
    page.goto(f"{made_up}/night/lossy")
    page.locator(PROBLEM).wait_for()
    assert "Expected JSON, found something else (status 503)." in page.locator(".notice").inner_text()


def hold(page, url):
    """Hold a request back; what is returned waits until the page has made it, and gives it to be let go."""
    held = []
    page.route(url, lambda route: held.append(route))
    return lambda: until(lambda: page.title() and held)[0]  # each question to the page lets its events in


def test_the_hypnogram_does_not_wait_for_the_details(made_up, visit):
    page = visit(made_up, "#nights a")
    details = hold(page, "**/details")
    page.goto(f"{made_up}/night/lossy")
    page.locator("#hypnogram .trace").wait_for(state="attached")
    assert page.locator("#hypnogram svg").is_visible() and page.locator("#statistics").is_hidden()
    page.wait_for_function("document.getElementById('notice').innerText.includes('Staging this night')")
    details().continue_()
    page.locator(NIGHT).wait_for()


@pytest.mark.parametrize(("path", "held", "first", "then"), [
    ("", "**/records?**", "Reading the list", r"^\d+ nights\.$"),
    ("night/lossy", "**/details", "Staging this night", "^40 min recorded"),
])  # fmt: skip
def test_what_a_page_does_and_has_done_is_read_out(made_up, visit, path, held, first, then):
    """A change is read out in an element that is live, and was not hidden before."""
    page = visit(made_up, "#nights a")
    request = hold(page, held)
    page.goto(f"{made_up}/{path}")
    answer = request()
    live = page.locator(":is([role=status], [aria-live=polite]):not([hidden], [hidden] *)")
    live.filter(has_text=first).wait_for()
    seen = live.element_handles()
    answer.continue_()
    read = "([seen, then]) => seen.some((live) => RegExp(then).test(live.innerText))"
    page.wait_for_function(read, arg=[seen, then])
    page.locator(".notice").wait_for(state="detached")


# For everybody


@pytest.mark.parametrize(("path", "ready"), [("", "#nights a"), ("night/lossy", NIGHT), ("night/always-busy", PROBLEM)])
def test_text_can_be_read_in_light_and_dark(made_up, visit, path, ready):
    """WCAG 2.2 AA asks for a contrast of 4.5."""
    page, grounds = visit(f"{made_up}/{path}", ready), set()
    if ready == NIGHT:
        page.locator("#epoch").focus()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(TEXT_CONTRASTS, "body")
        assert len(contrasts) >= 5
        assert [found for found in contrasts if found[0] < 4.5] == []
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_the_line_of_the_night_stands_out_without_its_colours(made_up, visit):
    """WCAG 2.2 AA asks for 3 between a drawing and its ground; the pale stage colours do not have it on white."""
    page = visit(f"{made_up}/night/lossy", NIGHT)
    ink = "path => getComputedStyle(path).stroke === getComputedStyle(document.body).color"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.eval_on_selector("#hypnogram .trace", ink)


@pytest.mark.parametrize("path", ["", "night/lossy"])
def test_every_stop_of_the_tab_key_shows_where_it_is(made_up, visit, path):
    page = visit(f"{made_up}/{path}", NIGHT if path else "#nights a")
    if path:
        page.locator("#next-night").wait_for()
    n_stops = page.locator("a:visible, input:visible, button:visible").count()
    stops = []
    for _ in range(n_stops):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("""() => {
          const stop = document.activeElement;
          const shown = stop.id === "epoch" ? document.getElementById("panels") : stop;
          return [stop.textContent || stop.id, getComputedStyle(shown).outlineStyle];
        }"""))
    assert stops[0][0].startswith("Skip to")
    assert len({name for name, _ in stops}) == n_stops
    assert {outline for _, outline in stops} == {"solid"}


def test_the_skip_link_leads_past_the_header(made_up, visit):
    page = visit(f"{made_up}/night/lossy", NIGHT)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "epoch"


def test_nothing_moves_for_who_wants_no_motion(made_up, visit):
    page = visit(f"{made_up}/night/always-busy", PROBLEM, reduced_motion="reduce")
    page.eval_on_selector("#notice", "notice => notice.className = 'notice waiting'")
    assert page.eval_on_selector("#notice", "notice => getComputedStyle(notice).animationName") == "none"


SCREENS = [DESKTOP, {"width": 768, "height": 1024}, PHONE]


@pytest.mark.parametrize("record", ["day", "one-epoch", "lossy", LONG])
def test_the_hypnogram_is_on_the_first_screen_and_nothing_is_cut_off(made_up, visit, record):
    page = visit(f"{made_up}/night/{record}", NIGHT)
    for screen in SCREENS:
        page.set_viewport_size(screen)
        box = page.locator("#hypnogram svg").bounding_box()
        assert box["y"] + box["height"] < screen["height"]
        assert box["width"] > screen["width"] / 2
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_list_with_long_names_fits(made_up, visit):
    page = visit(made_up, "#nights a")
    assert LONG in texts(page, "#nights a")
    for screen in SCREENS:
        page.set_viewport_size(screen)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# What the page is made of


def test_the_api_describes_itself_on_a_page(site, visit):
    page = visit(site, "#nights a")
    page.get_by_role("link", name="API").click()
    page.locator(".opblock", has_text="/hypnogram/{record}/details").wait_for()
    assert page.get_by_role("combobox").count() == 0  # that of servers has no name


def test_the_page_works_below_a_path(documents, serve, visit):
    mounted = {"/lab/sleep": make_app(MadeUp(documents), Metrics()).wsgi_app}
    address = serve(DispatcherMiddleware(lambda environ, start: pytest.fail("outside the path"), mounted))
    page = visit(f"{address}/lab/sleep/", "#nights a")
    page.get_by_role("link", name="lossy").click()
    page.locator(NIGHT).wait_for()


@pytest.mark.parametrize(("flown_h", "days"), [
    (0, ["10-27", "10-28", "10-29", "10-30"]),  # the clock is put back at the end of summer time
    (-6, ["10-27", "10-28", "10-27", "10-28", "10-29", "10-30"]),  # from two in the afternoon back to the morning
])  # fmt: skip
def test_an_actogram_has_a_row_for_each_day_also_where_the_clock_is_put_back(
    serve, visit, tmp_path, monkeypatch, flown_h, days
):
    endpoint = pytest.importorskip("dreem_case.events.endpoint", reason="events are an extra")
    utc = datetime(2023, 10, 27, 10, tzinfo=UTC).timestamp() + 60.0 * np.arange(4 * 1440)  # noon in Berlin
    offset = wall_offsets(utc, zone_of("anna", "Europe/Berlin")) + 3600 * flown_h * (np.arange(len(utc)) >= 26 * 60)
    counts = np.where((utc + offset) // 3600 % 24 < 8, 0, np.arange(len(utc)) % 97)
    write_series(tmp_path / "anna (1).parquet", make_series("anna (1)", utc, {"pim": counts}, offset))
    monkeypatch.setattr(endpoint, "_place", lambda: str(tmp_path))
    app = make_app(MadeUp({}), Metrics())
    app.register_blueprint(endpoint.make_blueprint())
    address = serve(app)
    page = visit(f"{address}/actogram/anna%20(1)", ".day")
    assert texts(page, ".day > span") == days
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.locator("#nights").is_visible()
    days, times = (page.locator(f"#rows {cell}").last.bounding_box()["height"] for cell in ("th", "td"))
    assert max(days, times) < 40  # px: on one line
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def strips(tmp_path, monkeypatch):
    """The app with the pages of heartbeats, over one simulated record of 34.5 s at 360 Hz."""
    endpoint = pytest.importorskip("dreem_case.ecg.endpoint", reason="heartbeats are an extra")
    write_records(tmp_path, n_records=1, minutes=0.575)
    monkeypatch.setattr(endpoint, "_place", lambda: str(tmp_path))
    app = make_app(MadeUp({}), Metrics())
    app.register_blueprint(endpoint.make_blueprint())
    return app


@pytest.fixture
def strip(serve, visit, strips):
    """Open the page of a strip."""
    address = serve(strips)
    return lambda ready="#beats button", name="sim01", **options: visit(f"{address}/strips/{name}", ready, **options)


def test_a_strip_in_which_the_record_ends_keeps_its_scale_and_a_message_goes_with_the_next_try(strip):
    page = strip("#leads svg")
    assert page.title() == "sim01: beats"
    page.locator("#from").fill("25")
    page.locator("#leads path:not(.grid)[d*='L3419 ']:not([d*='L3420 '])").first.wait_for(state="attached")
    assert page.locator("#leads svg").first.get_attribute("viewBox").split()[2] == "3600"
    for n, told in ("1", True), ("2", False):
        page.locator("#n").fill(n)
        with page.expect_response("**/ask?*"):
            page.locator("#ask").click()
        page.wait_for_function("told => Boolean(document.getElementById('message').textContent) === told", arg=told)


def test_who_goes_from_beat_to_beat_by_keyboard_stays_at_the_chosen_one(strip):
    page = strip()
    place = "[...document.querySelectorAll('#beats button')].indexOf(document.activeElement)"
    page.locator("#beats button").nth(1).focus()
    for key, at, kind in ("Enter", 1, "N"), ("ArrowRight", 2, "N"), ("v", 2, "V"):
        page.keyboard.press(key)
        assert (page.evaluate(place), texts(page, "#beats [aria-pressed=true]")) == (at, [kind])


def test_a_letter_names_the_chosen_beat_only_where_the_beats_are_worked_on(strip):
    """WCAG 2.2 A asks for it: who speaks to the browser types letters without meaning them."""
    page = strip()
    page.locator("#beats button").nth(1).click()
    for place, kind in (".skip", "N"), ("#next", "V"):
        page.locator(place).focus()
        page.keyboard.press("v")
        assert texts(page, "#beats [aria-pressed=true]") == [kind]


def test_a_name_in_the_address_that_is_no_encoding_is_told_and_not_waited_for(strip):
    page = strip("#message:has-text('100%: expected')", "100%")
    assert page.locator("h1").inner_text() == "100%"


def test_the_chosen_beat_stands_out_where_the_reader_sets_the_colours(strip):
    page = strip(forced_colors="active")
    page.locator("#beats button").nth(1).click()
    ground = "beats => beats.map(beat => getComputedStyle(beat).backgroundColor)"
    grounds = page.eval_on_selector_all("#beats button", ground)
    assert grounds.count(grounds[1]) == 1


def test_a_beat_that_is_doubtful_is_called_so(strip):
    def doubt(route):
        answer = route.fetch()
        beats = answer.json()
        beats["beats"][0]["review"] = True
        route.fulfill(response=answer, json=beats)

    page = strip()
    page.route("**/beats/sim01", doubt)
    page.reload()
    page.get_by_role("button", name=re.compile(r"^N at .* s, \d+ %, doubtful$")).wait_for()


def test_on_a_phone_a_finger_can_tell_beats_apart(strip):
    page = strip("#leads svg", viewport={"width": 320, "height": 700})
    boxes = [button.bounding_box() for button in page.locator("#beats button").all()]
    assert len(boxes) > 3
    assert all(left["x"] + left["width"] < right["x"] for left, right in pairwise(boxes))


def test_a_parts_file_that_a_browser_has_is_not_sent_again(strips):
    client, kinds = strips.test_client(), {"Accept-Encoding": "gzip, br, zstd"}
    tag = client.get("/strip-files/strip.js", headers=kinds, buffered=True).headers["ETag"]
    again = client.get("/strip-files/strip.js", headers=kinds | {"If-None-Match": tag}, buffered=True)
    assert again.status_code == 304


@pytest.mark.parametrize("path", sorted(PAGE.glob("*.*")), ids=lambda path: path.name)
def test_page_files_name_no_other_host_and_hold_no_inline_code(path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"// .*", "", text)
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    if path.suffix == ".js":
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
