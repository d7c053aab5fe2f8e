"""`vtrack report`: what a page says, that it needs nothing from elsewhere, and that it works in a browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pipelines.report_pages import LAYOUT, SAMPLE, Page, face_of, talk, truth, write
from tests.pipelines.results import make_result
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.dlc import DeepLabCutTable
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.report.course import BINS, Course
from vtrack.pipelines.tables.report.report import report_table
from vtrack.pipelines.tables.report.survey import survey_table

EVIL = "<script>alert(1)</script>\"'&.mp4"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talk(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(table: Path) -> Page:
    return Page(report_table(table).path.read_text(encoding="utf-8"))


def test_a_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.elements:
        assert not attributes.keys() & {"srcset", "action", "background", "poster", "data"}, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("src", "data:").startswith("data:image/jpeg;base64,") or "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    [policy] = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "img-src data:;" in policy and "sha256-" in policy
    assert not page.all("link") and not page.all("iframe") and not page.all("base")


def test_a_page_is_for_keyboard_and_screen_reader(page: Page) -> None:
    assert [each for tag, each in page.elements if tag == "html"] == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("header")) == len(page.all("footer")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [each["id"] for _, each in page.elements if "id" in each]
    assert len(ids) == len(set(ids))
    assert {each["aria-labelledby"] for _, each in page.elements if "aria-labelledby" in each} <= set(ids)
    assert all(each["alt"] for each in page.all("img"))
    assert all(each["role"] == "img" and each["aria-label"] for each in page.all("svg"))
    assert page.all("table") and all("scope" in each for each in page.all("th"))
    assert all(each.get("type") == "button" for each in page.all("button"))


def test_a_page_says_where_not_to_trust_the_table(table: Path, page: Page) -> None:
    survey = survey_table(TableResults(table))
    found = {(round(doubt.start, 2), round(doubt.end, 2)): set(doubt.reasons) for doubt in survey.doubts}
    assert found == {(0.5, 0.97): {"uncertain"}, (1.5, 1.63): {"unseen"}}
    assert survey.doubtful == 20 and survey.stretches == 2
    assert "not seen, points are predicted" in page.text and "points uncertain" in page.text
    assert "33.3 %" in page.text  # of the rows
    stills = [each for each in page.all("img") if "with its points" in each["alt"]]
    assert len(stills) == 2


def test_measures_come_from_the_curves_of_a_table_without_them(table: Path, page: Page) -> None:
    survey = survey_table(TableResults(table))
    assert survey.measured_here and not survey.lacking
    titles = {each["data-plot"] for tag, each in page.elements if tag == "figure" and "data-plot" in each}
    assert titles == {"presence", "sigma", "eyes", "mouth", "brows", "pose"}
    assert "The table has no measures" in page.text
    # The sample blinks once in its first two seconds.
    assert survey.blinks == {0: 1}


def test_a_table_without_sigma_is_measured(tmp_path: Path) -> None:
    frames = [[replace(face_of(points), sigma=np.full(68, np.nan))] for points in truth()[:30]]
    report = report_table(write(tmp_path / "other.csv", frames))
    plots = {each.get("data-plot") for each in Page(report.path.read_text(encoding="utf-8")).all("figure")}
    assert {"eyes", "mouth", "brows", "pose"} <= plots and "sigma" not in plots


def test_the_same_table_and_video_make_the_same_bytes(table: Path, tmp_path: Path) -> None:
    pages = [report_table(table, tmp_path / f"{name}.html").path.read_bytes() for name in "ab"]
    assert pages[0] == pages[1] and b"data:image/jpeg" in pages[0]


def test_names_are_text_on_the_page(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", [[face_of(points)] for points in truth()[:3]], name=EVIL)
    facts = json.loads((tmp_path / "a.csv.meta.json").read_text())
    facts["options"]["draw"] = [EVIL]
    facts["model"] = {"name": EVIL, "guessed_parts": [EVIL]}
    facts["counts"] |= {"warnings": EVIL, "stages": {EVIL: 1.0}, "damaged": EVIL}
    (tmp_path / "a.csv.meta.json").write_text(json.dumps(facts))
    text = report_table(table).path.read_text(encoding="utf-8")
    page = Page(text)
    assert [each.get("type") for each in page.all("script")] == ["application/json", "application/json", None]
    assert "alert(1)" not in "".join(re.findall(r"<script>.*?</script>", text, re.DOTALL))
    assert page.text.count(EVIL) >= 6


def test_without_the_video_a_page_says_so(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", [[face_of(points)] for points in truth()[:3]], source=tmp_path / "gone.mp4")
    page = Page(report_table(table).path.read_text(encoding="utf-8"))
    assert not page.all("img") and "There are no pictures: the video was not found" in page.text
    page = Page(report_table(table, tmp_path / "b.html", video=str(SAMPLE)).path.read_text(encoding="utf-8"))
    assert page.all("img") and "There are no pictures" not in page.text


def test_another_video_is_refused_where_it_is_given_and_noted_where_it_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.avi"
    writer = cv2.VideoWriter(str(other), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for _ in range(5):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    table = write(tmp_path / "a.csv", [[face_of(points)] for points in truth()[:3]], source=other)
    assert main(["report", str(table), "--video", str(other), "--quiet"]) == USAGE
    assert "is not of other.avi: its frames have 640x480 pixels" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))
    assert main(["report", str(table)]) == OK
    assert "3 frames, 0 doubtful stretches, without pictures" in capsys.readouterr().err
    assert "its frames have 640x480 pixels" in (tmp_path / "a.report.html").read_text(encoding="utf-8")


def test_wrong_usage_is_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(table), "-o", str(page), "--quiet"]) == OK
    assert main(["report", str(table), "-o", str(page), "--quiet"]) == USAGE
    assert f"{page} exists already; add --overwrite" in capsys.readouterr().err
    assert main(["report", str(table), "-o", str(page), "--quiet", "--overwrite"]) == OK
    assert main(["report", str(table), "-o", str(tmp_path / "page.pdf")]) == USAGE
    assert "end its name in .html" in capsys.readouterr().err
    assert main(["report", str(table), "-o", "-"]) == USAGE
    assert main(["report", str(tmp_path / "none.csv")]) == USAGE
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert main(["report", str(tmp_path / "bad.csv")]) == USAGE
    assert capsys.readouterr().err.count("\n") == 3 and not (tmp_path / "bad.report.html").exists()


def test_tables_without_faces_facts_or_times(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.csv", [[], [], []])
    page = Page(report_table(empty).path.read_text(encoding="utf-8"))
    assert "There is no face in this table." in page.text and not page.all("figure")
    bare = write(tmp_path / "bare.csv", [[face_of(points)] for points in truth()[:5]])
    (tmp_path / "bare.csv.meta.json").unlink()
    page = Page(report_table(bare).path.read_text(encoding="utf-8"))
    assert "There is no .meta.json beside the table" in page.text and "the table has no measures" in page.text
    odd = '{"source": 1, "model": [], "options": "x", "counts": {"seconds": 1e999, "stages": 3}}'
    (tmp_path / "bare.csv.meta.json").write_text(odd)
    assert "The run" in Page(report_table(bare, overwrite=True).path.read_text(encoding="utf-8")).text
    with DeepLabCutTable(tmp_path / "dlc.csv", LAYOUT) as sink:
        for i, points in enumerate(truth()[:5]):
            sink.write(replace(make_result(i, face_of(points), query=LAYOUT), query=LAYOUT))
    page = Page(report_table(tmp_path / "dlc.csv").path.read_text(encoding="utf-8"))
    assert "frame 0 to frame 4" in page.text


def test_a_single_frame_is_plotted(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", [[face_of(truth()[0])]])
    page = Page(report_table(table).path.read_text(encoding="utf-8"))
    assert "Length 0.0 s 1 frame" in page.text and "real time" not in page.text
    lines = [each["d"] for each in page.all("path") if each["class"] in ("line a", "there")]
    assert len(lines) == 7 and all(lines)


def test_a_table_without_times_counts_frames(tmp_path: Path) -> None:
    points = truth()[0]
    with DeepLabCutTable(tmp_path / "dlc.csv", LAYOUT) as sink:
        for i in range(90):
            sigma = np.full(68, 60.0 if 30 <= i < 50 else 1.0)
            face = face_of(points + (200.0 * (i >= 80), 0), sigma=sigma)
            sink.write(replace(make_result(i, face, query=LAYOUT), query=LAYOUT))
    report = report_table(tmp_path / "dlc.csv")
    found = [(doubt.start, doubt.end, set(doubt.reasons)) for doubt in report.survey.doubts]
    assert sorted(found) == [(30, 49, {"presence"}), (80, 80, {"jump"})]
    page = Page(report.path.read_text(encoding="utf-8"))
    assert "By reason, in frames of faces: jumps: 1 ; hardly a face: 20 ." in page.text
    assert "20 frames, worst at frame 30" in page.text and " 20.0 s" not in page.text


def test_photographs_have_no_course(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = np.full((300, 300, 3), 90, np.uint8)
    for name in ("a<b>.png", "b.png", "c.png"):
        cv2.imwrite(str(folder / name), image)
    points = truth()[0]
    points = (points - points.min(0)) * 0.7 + 50
    with WideTable(tmp_path / "t.csv", LAYOUT, files=True) as sink:
        for i, name in enumerate(("a<b>.png", "b.png", "c.png")):
            faces = [face_of(points, 0), face_of(points / 12 + 8, 1)] if i == 0 else [face_of(points)] * (i == 1)
            result = make_result(i, *faces, image=image, query=LAYOUT, step=0)
            sink.write(replace(result, frame=replace(result.frame, file=name)))
    source = {"name": "pictures", "path": str(folder), "width": 300, "height": 300, "photographs": True}
    write_sidecar(tmp_path / "t.csv", options={}, model={}, source=source, counts={"seconds": 1.0})
    page = Page(report_table(tmp_path / "t.csv").path.read_text(encoding="utf-8"))
    assert "Photographs 3" in page.text and "a<b>.png" in page.text and not page.all("figure")
    assert "Timeline" not in page.text
    assert [each["alt"] for each in page.all("img") if "face" in each["alt"].lower()] == [
        "Face 1 with its points, a<b>.png: points uncertain, small"
    ]


def test_bins_hold_what_numpy_says_in_memory_that_does_not_grow() -> None:
    rng = np.random.default_rng(5)
    frames = 3 * BINS + 77
    times, values = np.arange(frames) / 30, rng.normal(size=(frames, 2))
    values[100:400, 1] = np.nan
    course = Course(("one", "other"))
    for first in range(0, frames, 250):
        rows = slice(first, min(first + 250, frames))
        count = rows.stop - rows.start
        ones = np.ones(count, np.intp)
        places = course.add_frames(times[rows], np.arange(frames)[rows], ones, np.zeros(count, bool), [""] * count)
        course.add_faces(places, times[rows], np.zeros(count, np.int64), values[rows])
    assert course.width == 4 and course.used == -(-frames // 4)
    [face] = course.faces
    assert face.total.shape == (BINS, 2) and face.frames == frames
    whole = values[: frames // 4 * 4].reshape(-1, 4, 2)
    for column in range(2):
        known = np.isfinite(whole[:, :, column]).any(1)
        mean, (low, high) = face.mean(column), face.range(column)
        assert mean[: len(whole)][known] == pytest.approx(np.nanmean(whole[known, :, column], 1))
        assert low[: len(whole)][known] == pytest.approx(np.nanmin(whole[known, :, column], 1), rel=1e-6)
        assert high[: len(whole)][known] == pytest.approx(np.nanmax(whole[known, :, column], 1), rel=1e-6)
        assert np.isnan(mean[: len(whole)][~known]).all()
    assert course.edges[:3] == pytest.approx([0, 4 / 30, 8 / 30]) and course.edges[-1] == pytest.approx(frames / 30)


def test_of_many_faces_those_with_most_frames_are_kept() -> None:
    course = Course(("one",))
    for i in range(400):  # each of 20 frames, half a second apart; every fortieth of 60
        length = 60 if i % 40 == 7 else 20
        times = i * 2.5 + np.arange(length) / 30
        places = course.add_frames(
            times, np.arange(length), np.ones(length, np.intp), np.zeros(length, bool), [""] * length
        )
        course.add_faces(places, times, np.full(length, i, np.int64), np.ones((length, 1)))
    assert len(course.tracks) == 400 and len(course.faces) < 40
    assert [face.number for face in course.faces[:10]] == list(range(7, 400, 40))


def test_jumps_edges_and_brief_faces_are_doubtful(tmp_path: Path) -> None:
    points = truth()[0]
    frames = [[face_of(points + (0 if i < 40 else (-200, 0)))] for i in range(90)]
    for i in range(50, 56):
        frames[i].append(face_of(points / 3 + (400, 200), 1))
    survey = survey_table(TableResults(write(tmp_path / "a.csv", frames)))
    reasons = {(doubt.face, tuple(sorted(doubt.reasons))) for doubt in survey.doubts}
    assert (1, ("brief",)) in reasons
    assert any("jump" in names for face, names in reasons if face == 0)
    assert survey.doubts[0].frame == 40 and survey.doubts[0].face == 0


# In a browser

chromium = pytest.importorskip("tests.pipelines.live.chromium", reason="aiohttp is not installed")
needs_chromium = pytest.mark.skipif(chromium.CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def browser_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "browser"
    folder.mkdir()
    yield folder


@needs_chromium
def test_plots_zoom_by_keys_and_buttons_in_a_browser(table: Path, tmp_path: Path, browser_folder: Path) -> None:
    path = report_table(table, tmp_path / "page.html").path

    async def drive() -> None:
        async with chromium.Browser(browser_folder) as page:
            await page.open(path.as_uri())
            await page.until("document.querySelector('#range')?.textContent === '0:00.00 to 0:02.00'")
            await page.value(
                "window.refused = []; addEventListener('securitypolicyviolation', (event) => refused.push(event.blockedURI)); 1"
            )
            line = "document.querySelector('[data-plot=pose] .line').getAttribute('d')"
            whole = await page.value(line)
            assert whole.count("L") > 20
            assert (await page.value("document.documentElement.scrollWidth <= innerWidth")) is True
            await page.press("+")
            await page.until("document.querySelector('#range').textContent === '0:00.50 to 0:01.50'")
            assert await page.value(line) != whole
            assert await page.value("!document.querySelector('.window').hidden")
            await page.press("ArrowRight")
            await page.until("document.querySelector('#range').textContent === '0:00.75 to 0:01.75'")
            await page.value("document.querySelector('[data-do=all]').click()")
            await page.until("document.querySelector('#range').textContent === '0:00.00 to 0:02.00'")
            # The script draws what the page was made with.
            assert abs((await page.value(line)).count("L") - whole.count("L")) < 2
            await page.value("document.querySelector('.show').click()")
            await page.until("document.querySelector('#range').textContent === '0:00.00 to 0:02.00'")
            # A read-out below the pointer.
            await page.value(
                "(() => { const svg = document.querySelector('[data-plot=eyes] svg'), box = svg.getBoundingClientRect();"
                "svg.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width / 2 })); })()"
            )
            assert "left" in await page.value("document.querySelector('[data-plot=eyes] output').textContent")
            # Nothing comes from elsewhere, and nothing can.
            assert await page.value(
                "performance.getEntriesByType('resource').every((each) => each.name.startsWith('data:'))"
            )
            await page.value("fetch('http://127.0.0.1:1/').catch(() => 0)")
            assert await page.value("refused") == ["http://127.0.0.1:1/"]

    asyncio.run(drive())


@needs_chromium
def test_a_script_in_a_name_does_not_run(tmp_path: Path, browser_folder: Path) -> None:
    evil = "<img src=x onerror=\"document.title='run'\"></title><script>document.title='run'</script>"
    path = report_table(write(tmp_path / "a.csv", [[face_of(points)] for points in truth()[:4]], name=evil)).path

    async def drive() -> None:
        async with chromium.Browser(browser_folder) as page:
            await page.open(path.as_uri())
            await page.until("document.querySelector('#range')?.textContent")
            assert await page.value("document.title") == evil
            assert await page.value("document.querySelector('h1').textContent") == evil

    asyncio.run(drive())
