#!/usr/bin/env bash
# obstore deletes a single object of an S3 store with a bulk request, which some S3-compatible stores do not have.
#
# obstore.delete with one path sends POST BUCKET?delete with an XML body (DeleteObjects), not DELETE BUCKET/KEY. A store that has
# the calls for single objects only refuses this, although put, get and head work. With the client option "disable_bulk_delete"
# obstore sends DELETE BUCKET/KEY for each object.
#
# The script installs pinned packages into a temporary folder, prints their versions and the requests that a local server gets, and
# fails if the behaviour changes. It needs Python 3.11 to 3.14, and a package index; PIP_ARGS is passed to pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# PIP_ARGS can hold several words.
# shellcheck disable=SC2086
"$folder/venv/bin/python" -m pip install -qq ${PIP_ARGS:-} obstore==0.12.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import obstore
from obstore.store import S3Store

requests = []
DELETED = b'<?xml version="1.0"?><DeleteResult><Deleted><Key>one.npy</Key></Deleted></DeleteResult>'


class Store(BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        requests.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.answer(200, DELETED)

    def do_DELETE(self):
        self.answer(204)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("obstore", version("obstore"))
for options in ({}, {"disable_bulk_delete": True}):
    store = S3Store(
        "scores",
        endpoint=f"http://127.0.0.1:{server.server_port}",
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
        **options,
    )
    obstore.delete(store, "one.npy")
    print(options, requests[-1])
expected = ["POST /scores?delete", "DELETE /scores/one.npy"]
assert requests == expected, f"the behaviour has changed: {requests}"
PYTHON
