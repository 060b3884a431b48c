"""The pages that the last report made: `make check`."""

import json

import nbformat
import pytest

from dreem_case.report.chapter import HEADLINES, read_results
from dreem_case.report.run import chapter_paths
from dreem_case.report.site import page_problems
from tests.conftest import ROOT
from tests.support.browser import TEXT_CONTRASTS

pytestmark = pytest.mark.built
PAGES = ["index", *(f"report/{path.stem}" for path in chapter_paths(ROOT))]
PAGES += [
    str(path.relative_to(ROOT / "nbs").with_suffix("")) for path in sorted((ROOT / "nbs" / "library").rglob("*.ipynb"))
]
COMMITTED = read_results(ROOT / "nbs" / "report" / "results.json")
BESIDE = {"simulated.bins": "headband", "simulated.structure": "hypnograms"}  # real data that such figures stand beside


def last_run() -> dict:
    """What the last report was made of, and what it took."""
    run = ROOT / "build" / "run.json"
    return json.loads(run.read_text(encoding="utf-8")) if run.is_file() else {}


@pytest.fixture(scope="module")
def found() -> dict[str, dict | None]:
    """The figures of the last report, of the committed ones' nights; None for what the shortest run leaves out."""
    said = last_run()
    if said.get("given", {}).get("data") or not said.get("complete", True):
        pytest.skip("the last report is of other nights, another seed or some of the nights")
    left_out = dict.fromkeys(COMMITTED) if said.get("budget") == "ci" else {}
    return left_out | read_results(ROOT / "build" / "results.json")


def n_pictures(name: str) -> int:
    """Count the pictures of a chapter's executed copy."""
    copy = ROOT / "build" / "book" / f"{name}.ipynb"
    if not copy.is_file() or name.startswith("library/"):
        return 0
    outputs = [output for cell in nbformat.read(copy, 4).cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_whole(name):
    assert page_problems(ROOT / "build" / "site" / "nbs" / f"{name}.html", n_pictures(name)) == []


@pytest.mark.parametrize("name", ["index", "report/5_serve", "library/core/web"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_links_and_folds_can_be_read_in_light_and_dark(name, scheme, browser):
    """WCAG 2.2 AA asks for a contrast of 4.5."""
    with browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme) as page:
        page.goto((ROOT / "build" / "site" / "nbs" / f"{name}.html").as_uri())
        contrasts = page.evaluate(TEXT_CONTRASTS, ".sidebar-link, summary, main p > a")
    assert contrasts and [found for found in contrasts if found[0] < 4.5] == []


def test_a_phones_menu_begins_below_the_header(browser):
    with browser.new_page(viewport={"width": 390, "height": 844}) as page:
        page.goto((ROOT / "build" / "site" / "nbs" / "report" / "5_serve.html").as_uri())
        page.get_by_label("Toggle sidebar navigation").click()
        page.get_by_role("navigation").get_by_role("link", name="The answer").first.click()  # fails where it is covered
        page.wait_for_url("**/nbs/index.html")


@pytest.mark.parametrize("chapter", chapter_paths(ROOT), ids=lambda path: path.stem)
def test_the_chapter_shows_figures(chapter):
    assert n_pictures(f"report/{chapter.stem}") > 0


def test_the_site_opens_at_the_landing_page():
    assert "nbs/index.html" in (ROOT / "build" / "site" / "index.html").read_text()


@pytest.mark.parametrize("name", [name for name in COMMITTED if name.startswith("simulated.")])
def test_a_simulated_figure_of_the_published_run_is_made_again(name, found):
    needed = BESIDE.get(name.rsplit(".", 1)[0])
    if needed and not last_run().get("given", {}).get(needed, True):
        pytest.skip(f"the last report was not given {needed}")
    assert name in found
    if found[name] is None:
        pytest.skip("the shortest run leaves this figure out")


@pytest.mark.parametrize("name", [name for name in map("simulated.{}".format, HEADLINES) if name in COMMITTED])
def test_a_simulated_headline_figure_is_the_committed_one(name, found):
    if found[name] is None:
        pytest.skip("the shortest run leaves this figure out")
    assert found[name]["value"] == pytest.approx(COMMITTED[name]["value"], abs=0.02)
