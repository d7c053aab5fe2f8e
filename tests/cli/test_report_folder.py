"""`vtrack report` of a folder, and `vtrack batch --report`: a page for each table, and an index."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.pipelines.report_pages import SAMPLE, Page, talk
from vtrack.cli.main import FAILED, OK, USAGE, main


def test_a_folder_gets_a_page_for_each_table_and_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = talk(tmp_path)
    for place in ("one.vtrack.csv", "below & <b>/two.csv"):
        path = tmp_path / "out" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(table.read_bytes())
        path.with_name(f"{path.name}.meta.json").write_text((table.parent / "talk.csv.meta.json").read_text())
    out = tmp_path / "out"
    (out / "bad.vtrack.csv").write_text("a,b\n1,2\n")
    (out / "notes.csv").write_text("a,b\n1,2\n")
    assert main(["report", str(out)]) == FAILED
    said = capsys.readouterr().err
    assert "3 tables, 2 pages made" in said and "bad.vtrack.csv: " in said
    index = Page((out / "report.html").read_text(encoding="utf-8"))
    links = [unquote(each["href"]) for each in index.all("a")]
    assert sorted(links) == ["below & <b>/two.report.html", "one.vtrack.report.html"]
    assert all((out / link).is_file() for link in links) and not list(out.rglob("notes.report.html"))
    assert index.text.count("33.3 %") == 3 and "not a table that vtrack knows" in index.text
    assert "script-src" not in (out / "report.html").read_text(encoding="utf-8")
    # Pages that are newer than their tables are kept, older ones not replaced by chance.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.report.html")}
    assert main(["report", str(out), "--quiet"]) == FAILED
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.report.html")} == before
    os.utime(out / "one.vtrack.csv", ns=(2**61, 2**61))
    capsys.readouterr()
    assert main(["report", str(out)]) == USAGE
    assert "one.vtrack.report.html is older than its table; add --overwrite" in capsys.readouterr().err
    assert main(["report", str(out), "--overwrite"]) == FAILED
    assert "3 tables, 1 page made" in capsys.readouterr().err
    assert main(["report", str(out), "--video", str(SAMPLE)]) == USAGE
    assert main(["report", str(tmp_path / "out" / "below & <b>"), "-o", str(tmp_path / "x.csv")]) == USAGE
    (tmp_path / "none").mkdir()
    assert main(["report", str(tmp_path / "none")]) == USAGE


def test_files_that_are_no_pages_are_kept_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = talk(tmp_path)
    page = tmp_path / "talk.report.html"
    page.write_text("mine")
    assert main(["report", str(tmp_path)]) == FAILED
    assert "talk.report.html exists already; add --overwrite" in capsys.readouterr().err and page.read_text() == "mine"
    assert main(["report", str(tmp_path), "--overwrite", "--quiet"]) == OK
    # A page of ours whose figures are damaged is made anew.
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace('"frames":60', '"frames":'), encoding="utf-8")
    assert main(["report", str(tmp_path)]) == OK
    assert "1 table, 1 page made" in capsys.readouterr().err and page.read_text(encoding="utf-8") == text
    assert table.is_file()


def test_an_index_tells_tables_of_one_video_apart(tmp_path: Path) -> None:
    for name in ("fast", "large"):
        (tmp_path / name).mkdir()
        talk(tmp_path / name)
    assert main(["report", str(tmp_path), "--quiet"]) == OK
    index = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "sample.mp4 fast/talk.report.html" in index.text and "sample.mp4 large/talk.report.html" in index.text


def test_a_batch_writes_pages_and_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    (videos / "talk.mp4").write_bytes(SAMPLE.read_bytes())
    (videos / "broken.mp4").write_bytes(b"no video")
    words = ["batch", str(videos), "-o", str(out), "--parts", "300w", "--stop", "0.3", "--workers", "1", "--report"]
    assert main(words) == FAILED
    assert f"reports: {out / 'report.html'}" in capsys.readouterr().err
    index = Page((out / "report.html").read_text(encoding="utf-8"))
    assert [each["href"] for each in index.all("a")] == ["talk.vtrack.report.html"]
    assert "broken.mp4 " in index.text and "not a video" in index.text
    page = Page((out / "talk.vtrack.report.html").read_text(encoding="utf-8"))
    # The merged table, which is of no single video, has no page.
    assert main([*words, "--merge", str(out / "all.csv"), "--quiet"]) == FAILED
    capsys.readouterr()
    assert main(["report", str(out)]) == OK
    assert "1 table, 0 pages made" in capsys.readouterr().err
    # A page that cannot be written is told.
    (videos / "broken.mp4").unlink()
    text = (out / "talk.vtrack.report.html").read_text(encoding="utf-8")
    (out / "talk.vtrack.report.html").write_text("mine")
    assert main(words) == FAILED
    assert "vtrack: talk.mp4: " in capsys.readouterr().err and "exists already" in (out / "report.html").read_text()
    (out / "talk.vtrack.report.html").write_text(text, encoding="utf-8")
    assert main([*words, "--quiet"]) == OK
    # The facts of a batch are found: settings, speed and the video.
    assert page.all("img") and "It took" in page.text and "640 × 480 pixels" in page.text
    assert main([*words[:3], "s3://bucket/out", *words[4:]]) == USAGE
    (out / "report.html").write_text("mine")
    assert main(words) == USAGE
    assert "is no index of reports" in capsys.readouterr().err and (out / "report.html").read_text() == "mine"
