"""deploy/quickstart, as a person runs it."""

import json
import shutil
import subprocess

import pytest

from support.millrace import DEMO
from support.server import ROOT

OUT = ROOT / "build/quickstart"


def quickstart(*arguments, cwd=ROOT):
    command = [ROOT / "deploy/quickstart", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def processes():
    """Command lines of what runs from this tree."""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if "quickstart/worker.yaml" in line]


@pytest.mark.load
def test_the_demo_answers_200_jobs_and_leaves_nothing_running():
    result = quickstart()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "of 200 answers are, to the letter, the right one" in result.stdout
    results = [json.loads(line) for line in (OUT / "results.jsonl").read_text().splitlines()]
    assert len(results) == 200
    assert {line["response"]["status_code"] for line in results} == {200}
    assert processes() == []


@pytest.mark.load
def test_own_model_and_documents(tmp_path):
    documents = tmp_path / "my documents"
    documents.mkdir()
    for path in sorted((DEMO / "documents").iterdir())[:5]:
        shutil.copy(path, documents)
    shutil.copytree(DEMO / "scribe-weak", tmp_path / "model")
    result = quickstart("--model", "model", "--documents", "my documents", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    results = [json.loads(line) for line in (OUT / "results.jsonl").read_text().splitlines()]
    assert len(results) == 5
    assert {line["response"]["body"]["model"] for line in results} == {"demo"}
    assert processes() == []


@pytest.mark.load
def test_documents_that_cannot_be_sent_cost_the_others_nothing(tmp_path):
    shutil.copy(DEMO / "documents/note-000.txt", tmp_path)
    (tmp_path / "broken.txt").write_bytes(b"\xff")
    (tmp_path / "long.txt").write_text("word " * 5000)
    result = quickstart("--documents", tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "broken.txt" in result.stderr and "long.txt" in result.stderr
    (answer,) = [json.loads(line) for line in (OUT / "results.jsonl").read_text().splitlines()]
    assert answer["custom_id"] == "note-000.txt"
    assert processes() == []


def test_a_folder_that_is_not_there_is_refused():
    result = quickstart("--documents", "/nonexistent")
    assert result.returncode == 2
    assert "/nonexistent" in result.stderr
