"""A web hook on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hook(HTTPServer):
    """A web hook on this machine that answers as it is set and keeps what it got."""

    def __init__(self, answers=(200,)):
        self.got, self.answers = [], list(answers)
        super().__init__(("127.0.0.1", 0), _HookHandler)
        self.address = f"http://127.0.0.1:{self.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _HookHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["content-length"]))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer == 200:
            self.server.got.append(json.loads(data))
        self.send_response(answer)
        if answer == 302:
            self.send_header("location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass
