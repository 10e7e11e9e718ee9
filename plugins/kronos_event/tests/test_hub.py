"""Weights by hub id: from a hub on this machine, from the cache, and refused in time where there is neither."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from kronosfw_kronos_event.kronos.checkpoint import fingerprint
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.hub import PUBLISHED, locate
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

GOLDEN = Path(__file__).parent / "golden" / "model"
COMMIT = PUBLISHED["NeoQuasar/Kronos-mini"].revision
CLOSED = "http://127.0.0.1:9"


@dataclass
class Hub:
    """What a small hub serves, and what it was asked for."""

    files: dict[str, bytes]
    revisions: dict[str, str]
    status: int = 200
    error: str = ""
    hang: Event | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        repo, resolve, rest = path.strip("/").partition("/resolve/")
        if not resolve:
            return 404, {}, b""
        revision, _, name = rest.partition("/")
        self.asked.append(f"{repo}@{revision}/{name}")
        if self.status != 200:
            return self.status, {"X-Error-Code": self.error}, b""
        commit = revision if revision in self.revisions.values() else self.revisions.get(revision)
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if name not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = self.files[name]
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, content


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A hub that holds the golden model under any name, which the client takes for the real one."""
    files = {path.name: path.read_bytes() for path in GOLDEN.iterdir()}
    state = Hub(files, {"v1": COMMIT, "main": "c" * 40, "v2": "d" * 40})

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if state.hang is not None:
                state.hang.wait(20)
                return
            status, headers, content = state.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    point_to(monkeypatch, state.url)
    yield state
    if state.hang is not None:
        state.hang.set()
    hub.close_session()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub's client, which is not told to be offline, in an empty working folder."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "cache"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client's retries would make."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Do what HF_ENDPOINT does, which the client reads once at its import."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def refusal(source: str, revision: str | None = None) -> str:
    with pytest.raises(WeightsError) as error:
        locate(source, revision)
    assert source in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestFetching:
    def test_a_published_model_in_its_pinned_revision(self, served: Hub) -> None:
        model = Kronos.from_pretrained("NeoQuasar/Kronos-mini", sha256=fingerprint(GOLDEN))
        assert model.config.d_model == 48
        assert {asked.rpartition("/")[0] for asked in served.asked} == {f"NeoQuasar/Kronos-mini@{COMMIT}"}

    def test_only_the_two_files(self, served: Hub) -> None:
        served.files["pytorch_model.bin"] = b"pickle"
        folder = locate("NeoQuasar/Kronos-mini")
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        assert not any("pytorch_model" in asked for asked in served.asked)

    def test_any_other_repository_in_main(self, served: Hub) -> None:
        assert locate("someone/else").name == "c" * 40

    def test_another_revision(self, served: Hub) -> None:
        assert locate("NeoQuasar/Kronos-mini", "v2").name == "d" * 40

    def test_a_cached_commit_asks_nobody(self, served: Hub) -> None:
        folder = locate("NeoQuasar/Kronos-mini")
        served.asked.clear()
        assert locate("NeoQuasar/Kronos-mini") == folder
        assert served.asked == []

    def test_a_branch_is_looked_up_again(self, served: Hub) -> None:
        locate("someone/else")
        served.revisions["main"] = "e" * 40
        assert locate("someone/else").name == "e" * 40

    def test_a_folder_of_that_name_comes_first(self, served: Hub) -> None:
        shutil.copytree(GOLDEN, "NeoQuasar/Kronos-mini")
        Kronos.from_pretrained("NeoQuasar/Kronos-mini")
        assert served.asked == []

    def test_a_path_is_never_a_hub_id(self, served: Hub) -> None:
        with pytest.raises(WeightsError, match="there is no folder"):
            locate(Path("NeoQuasar/Kronos-mini"))
        for source in ("../x", "a/b/c", "/a/b", "~no-such-user/x", "kronos", "a/b?x=1", "a/b@main"):
            assert "there is no folder" in refusal(source)
        assert served.asked == []

    @pytest.mark.parametrize("source", ["a--b/c", "a/b.git", "a/" + "b" * 200, "a../b"])
    def test_an_id_that_the_hub_does_not_allow(self, served: Hub, source: str) -> None:
        assert "a hub id looks otherwise" in refusal(source)


class TestRefusals:
    def test_a_repository_that_is_missing_or_private(self, served: Hub) -> None:
        served.status, served.error = 401, "RepoNotFound"
        assert "missing, private or gated" in refusal("someone/else")

    def test_a_gated_repository(self, served: Hub) -> None:
        served.status, served.error = 403, "GatedRepo"
        assert "missing, private or gated" in refusal("someone/else")

    def test_a_missing_revision(self, served: Hub) -> None:
        assert "has no revision 'v9'" in refusal("someone/else", "v9")

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_a_repository_without_a_file(self, served: Hub, name: str) -> None:
        del served.files[name]
        assert f"holds no {name}" in refusal("NeoQuasar/Kronos-mini")

    def test_a_hub_that_fails(self, served: Hub, naps: list[float]) -> None:
        served.status = 503
        assert "cannot be fetched (HfHubHTTPError)" in refusal("someone/else")
        assert len(served.asked) == 1
        assert naps == []

    def test_a_client_that_is_not_installed(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert "pip install 'kronosfw-kronos-event[hub]'" in refusal("NeoQuasar/Kronos-mini")


class TestWithoutNetwork:
    def test_nobody_answers(self, cache: Path, monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> None:
        point_to(monkeypatch, CLOSED)
        message = refusal("NeoQuasar/Kronos-base")
        assert "HF_HUB_OFFLINE" in message
        assert "local folder" in message
        assert naps == []

    def test_an_answer_that_never_comes(
        self, served: Hub, monkeypatch: pytest.MonkeyPatch, naps: list[float]
    ) -> None:
        served.hang = Event()
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
        assert "Timeout" in refusal("NeoQuasar/Kronos-base")
        assert naps == []

    def test_a_name_that_is_looked_up_for_ever(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        done = Event()
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
        monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: done.wait(20))
        assert "cannot be fetched (TimeoutError)" in refusal("NeoQuasar/Kronos-base")
        done.set()

    def test_a_cached_branch_will_do(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = locate("someone/else")
        point_to(monkeypatch, CLOSED)
        assert locate("someone/else") == folder

    def test_half_a_cache_will_not(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        (locate("NeoQuasar/Kronos-mini") / "model.safetensors").unlink()
        point_to(monkeypatch, CLOSED)
        assert "not in the hub's cache" in refusal("NeoQuasar/Kronos-mini")

    def test_offline_by_wish(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        message = refusal("NeoQuasar/Kronos-base")
        assert "HF_HUB_OFFLINE" in message
        assert "local folder" in message
        assert served.asked == []

    @pytest.mark.parametrize("source", ["NeoQuasar/Kronos-mini", "someone/else"])
    def test_offline_by_wish_with_a_cache(self, served: Hub, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
        folder = locate(source)
        served.asked.clear()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert locate(source) == folder
        assert served.asked == []


def test_every_published_model_has_a_published_tokenizer_of_its_context() -> None:
    for source, published in PUBLISHED.items():
        assert len(published.revision) == 40
        assert ("Tokenizer" in source) == (published.tokenizer is None)
        if published.tokenizer:
            assert PUBLISHED[published.tokenizer].max_context == published.max_context


@pytest.mark.network
@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("NeoQuasar/Kronos-mini", 4_108_032),
        ("NeoQuasar/Kronos-small", 24_741_376),
        ("NeoQuasar/Kronos-base", 102_310_592),
        ("NeoQuasar/Kronos-Tokenizer-2k", 3_958_042),
        ("NeoQuasar/Kronos-Tokenizer-base", 3_958_042),
    ],
)
def test_the_published_weights(source: str, parameters: int) -> None:
    cls = KronosTokenizer if "Tokenizer" in source else Kronos
    model = cls.from_pretrained(source)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
