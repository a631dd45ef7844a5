"""The process that knows the steps: it answers, says what is wrong, and is started again if it was killed."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoloom.errors import TransientError, UserInputError
from cryoloom.web.step_catalogue import StepCatalogue, source_hash


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCatalogue]:
    made = StepCatalogue(tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


def test_it_knows_steps_and_workflows(catalogue: StepCatalogue) -> None:
    step = catalogue.step("reconstruct")
    assert (step["needs"], step["gives"]) == ("TiltSeries", "Tomogram")
    assert step["schema"]["properties"]["method"]
    assert "tomogram" in [one["name"] for one in catalogue.catalogue()["workflows"]]


def test_what_it_refuses_is_a_sentence(catalogue: StepCatalogue) -> None:
    with pytest.raises(UserInputError, match="there is no step 'reconstuct'"):
        catalogue.step("reconstuct")
    with pytest.raises(UserInputError, match="unknown request 'delete'"):
        catalogue.ask({"do": "delete"})


def test_it_is_started_again_after_it_was_killed(catalogue: StepCatalogue) -> None:
    question = {"do": "check", "step": "reconstruct", "parameters": {}}
    assert catalogue.ask(question)["errors"] == {}
    catalogue._process.kill()
    time.sleep(0.1)
    assert catalogue.ask(question)["errors"] == {}


def test_what_the_source_says_is_kept_and_asked_no_more(catalogue: StepCatalogue, tmp_path: Path) -> None:
    known = catalogue.catalogue()
    again = StepCatalogue(catalogue._cache_folder)
    assert again.catalogue() == known
    assert again._process is None
    (kept,) = catalogue._cache_folder.iterdir()
    assert kept.name == f"steps-{source_hash()}.json"


@pytest.mark.parametrize("text", ["", "[]", '{"steps"', '{"steps": []}'])
def test_a_kept_catalogue_that_cannot_be_read_is_made_again(
    catalogue: StepCatalogue, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalogue.catalogue()
    again = StepCatalogue(tmp_path)
    monkeypatch.setattr(again, "ask", lambda question: known)
    (tmp_path / f"steps-{source_hash()}.json").write_text(text)
    for i in range(4):
        (tmp_path / f"steps-of-an-older-source-{i}.json").write_text("{}")
    assert again.catalogue() == known
    assert StepCatalogue(tmp_path).catalogue() == known
    assert len(list(tmp_path.iterdir())) == 3


def test_a_server_that_stops_does_not_wait_for_the_steps_to_be_read(tmp_path: Path) -> None:
    made = StepCatalogue(tmp_path)
    refused: list[str] = []

    def ask() -> None:
        try:
            made.catalogue()
        except TransientError as error:
            refused.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    while made._process is None:
        time.sleep(0.005)
    began = time.monotonic()
    made.close()
    asking.join()
    assert time.monotonic() - began < 3  # of the five and more that the steps take
    assert refused == ["the server is being stopped"]


def test_the_process_is_started_before_it_is_asked(catalogue: StepCatalogue, tmp_path: Path) -> None:
    made = StepCatalogue(tmp_path)
    made.start()
    made.start()  # one is enough
    assert made._warming is not None
    made._warming.join()
    assert made._process is not None
    assert made._process.poll() is None
    made.close()
