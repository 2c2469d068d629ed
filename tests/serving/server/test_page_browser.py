"""The server's page in a real browser, driven by DevTools: two files are chosen, and a verdict is shown."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
from serving.export import probe_images
from serving.local import LocalModel
from serving.server.limits import Token
from tests.serving.server.running import running
from tests.serving.server.test_client import EVALUATION

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_CHROMIUM is None, reason=f"no browser is installed: none of {', '.join(_NAMES)}"),
]
_TOKEN = "a-secret-of-some-length"


class _Browser:
    """A page of Chromium, by the DevTools protocol."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0
        self.events = []

    def call(self, method, **parameters):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, expression):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.1)
        pytest.fail(f"expected {expression}. Received: {self.evaluate('document.body.innerText')}")

    def choose(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@pytest.fixture
def browser(tmp_path):
    command = [
        *(_CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--remote-allow-origins=*", "about:blank"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        port_file = tmp_path / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as listed:
            page = next(one for one in json.load(listed) if one["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            made = _Browser(socket)
            for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
                made.call(f"{domain}.enable")
            yield made
    finally:
        process.kill()
        process.wait()


def test_two_faces_give_the_verdict_of_verify(browser, model_dir, tmp_path):
    path = tmp_path / "5"
    shutil.copytree(model_dir, path)
    (path / EXTRA / VERIFICATION_FILE).write_text(json.dumps(EVALUATION))
    images = probe_images(2)
    files = [tmp_path / f"{i}.jpg" for i in range(2)]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image)
    with running(path, token=Token(_TOKEN)) as server:
        browser.call("Page.navigate", url=f"http://{server.rest}/")
        browser.until("document.getElementById('token-line') && !document.getElementById('token-line').hidden")
        browser.evaluate(
            f"document.getElementById('token').value = '{_TOKEN}';"
            "document.getElementById('token').dispatchEvent(new Event('change'))"
        )
        browser.until("document.getElementById('state').textContent == 'version 5 answers'")
        assert browser.evaluate("document.querySelectorAll('#threshold option').length") == 2
        browser.choose("#file-a", files[0])
        browser.choose("#file-b", files[1])
        text = browser.until("document.getElementById('verdict').className != 'verdict ' && verdict.textContent")
        verdict = LocalModel(path).verify(*images)
        assert text.startswith(f"{'same' if verdict.same else 'different'}: cosine {verdict.cosine:.3f}"[:-1])
        assert "600 pairs of lfw" in browser.evaluate("document.getElementById('meaning').textContent")
        browser.choose("#file-b", files[0])
        browser.until("verdict.textContent.startsWith('same: cosine 1.0000')")
        browser.evaluate("threshold.selectedIndex = 1; threshold.dispatchEvent(new Event('change'))")
        browser.until("meaning.textContent.startsWith('Of the 300 pairs of different people in lfw, 3 lie above it.')")
        for width in (390, 1200):
            browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
            )
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert all(url.startswith((f"http://{server.rest}/", "data:", "about:")) for url in asked), asked
    refused = [event for event in browser.events if event["method"] == "Log.entryAdded" and "Security" in str(event)]
    assert not refused
