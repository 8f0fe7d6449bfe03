"""A headless Chromium, driven over a pipe with the standard library alone.

Used by `dashboard.py`. Chromium reads commands of its DevTools protocol from file descriptor 3 and
writes answers and events to 4, each a JSON object that ends in a zero byte. The browser is started
so that it asks for nothing of its own accord; every request that a page makes is kept, with every
error that it reports.
"""

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--mute-audio", "--hide-scrollbars",
]


class Browser:
    """One browser with one page."""

    def __init__(self, program="chromium"):
        self.folder = tempfile.mkdtemp(prefix="foretune-browser-")
        to_read, self.commands = os.pipe()
        self.answers, to_write = os.pipe()
        words = [program, *QUIET, f"--user-data-dir={self.folder}", "--remote-debugging-pipe", "about:blank"]
        # The shell puts the two ends where the browser looks for them; they come from far above, so
        # that neither takes the other's place.
        to_read, to_write = (fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_read, to_write))
        shell = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self.child = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.last, self.waiting, self.session = 0, {}, None
        self.requests, self.errors = [], []
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Network", "Log", "Accessibility"]:
            self.call(f"{domain}.enable")

    def _listen(self):
        rest = b""
        while True:
            more = os.read(self.answers, 1 << 16)
            if not more:
                return
            *whole, rest = (rest + more).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self.waiting[message["id"]].put(message)
                else:
                    self._event(message["method"], message["params"])

    def _event(self, method, told):
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Network.eventSourceMessageReceived":
            self.requests.append(f"event: {told['eventName']}")
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{told['entry']['text']} ({told['entry'].get('url', '')})")

    def call(self, method, **parameters):
        """Sends a command and returns its result."""
        self.last += 1
        number = self.last
        self.waiting[number] = queue.Queue()
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        answer = self.waiting[number].get(timeout=300)
        del self.waiting[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def run(self, script):
        """Returns the value of a script in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def until(self, script, seconds=60):
        """Waits until a script's value is true, and returns it."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script)
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {seconds} s: {script}")
            time.sleep(0.1)

    def shape(self, width, height, scheme="light", phone=False):
        """Makes the window as wide and as high, light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        time.sleep(0.3)

    def open(self, url):
        """Opens a page."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def press(self, key, code=0, shift=False):
        """Presses a key, such as Tab (9) or Enter (13)."""
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      modifiers=8 if shift else 0, **(more if kind == "keyDown" else {}))

    def picture(self, path):
        """Writes a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(found["data"]))

    def tree(self):
        """Returns what a screen reader is told: role, name and properties of every node."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        value = lambda node, key: node.get(key, {}).get("value", "")
        return [(value(node, "role"), value(node, "name")) for node in nodes if not node.get("ignored")]

    def close(self):
        """Ends the browser."""
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
