"""A small server that speaks what ``huggingface_hub`` asks of the Hub: look up, download, create, commit."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Repositories in memory: ``files[repo][commit][name]``, ``branches[repo][name] = commit``."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.broken = False
        """Answer 500 to everything."""
        self.cut: set[str] = set()
        """Names whose downloads break off half-way."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
                self.send_response(code)
                for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def json(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
                self.answer(code, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                if hub.broken:
                    return self.json(500, {"error": "out of order"})
                api = re.fullmatch(r"/api/models/([^/]+/[^/?]+)(?:/revision/([^?]+))?(?:\?.*)?", self.path)
                if api:
                    repo, revision = api[1], api[2] or "main"
                    if repo not in hub.files:
                        return self.json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                    commit = hub.resolve(repo, revision)
                    if commit is None:
                        return self.json(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
                    names = [{"rfilename": n} for n in hub.files[repo][commit]]
                    return self.json(200, {"id": repo, "modelId": repo, "sha": commit, "siblings": names, "tags": []})
                file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)(?:\?.*)?", self.path)
                if file:
                    commit = hub.resolve(file[1], file[2])
                    data = hub.files[file[1]][commit].get(file[3]) if commit else None
                    if data is None:
                        return self.json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                    headers = {"X-Repo-Commit": str(commit), "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
                    if self.command == "GET" and file[3] in hub.cut:
                        self.send_response(200)
                        for key, value in {**headers, "Content-Length": str(len(data))}.items():
                            self.send_header(key, value)
                        self.end_headers()
                        self.wfile.write(data[: len(data) // 2])
                        self.close_connection = True
                        return None
                    return self.answer(200, data, headers)
                return self.json(404, {"error": f"no such path {self.path}"})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.requests.append(f"POST {self.path}")
                if self.headers.get("Authorization") != "Bearer hf_good":
                    return self.json(401, {"error": "Invalid credentials"})
                if self.path == "/api/repos/create":
                    asked = json.loads(body)
                    repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                    if repo in hub.files:
                        return self.json(409, {"error": "exists", "url": f"{hub.url}/{repo}"})
                    hub.commit(repo, "main", {})
                    return self.json(200, {"url": f"{hub.url}/{repo}", "name": repo})
                if self.path.startswith("/api/validate-yaml"):
                    return self.json(200, {"errors": [], "warnings": []})
                branch = re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/([^?]+)", self.path)
                if branch:
                    hub.branches[branch[1]][branch[2]] = hub.branches[branch[1]]["main"]
                    return self.json(200, {})
                pre = re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/([^?]+)(?:\?.*)?", self.path)
                if pre:
                    files = [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in json.loads(body)["files"]
                    ]
                    return self.json(200, {"files": files})
                commit = re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^?]+)(?:\?.*)?", self.path)
                if commit:
                    lines = [json.loads(line) for line in body.splitlines()]
                    files = {
                        line["value"]["path"]: base64.b64decode(line["value"]["content"])
                        for line in lines
                        if line["key"] == "file"
                    }
                    oid = hub.commit(commit[1], commit[2], files)
                    url = f"{hub.url}/{commit[1]}/commit/{oid}"
                    return self.json(200, {"success": True, "commitOid": oid, "commitUrl": url})
                return self.json(404, {"error": f"no such path {self.path}"})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def resolve(self, repo: str, revision: str) -> str | None:
        commit = self.branches.get(repo, {}).get(revision, revision)
        return commit if commit in self.files.get(repo, {}) else None

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        """Add a commit on a branch; returns its id."""
        branches = self.branches.setdefault(repo, {})
        history = self.files.setdefault(repo, {})
        merged = {**history.get(branches.get(branch, ""), {}), **files}
        oid = hashlib.sha1(repr((len(history), sorted(merged))).encode()).hexdigest()
        history[oid] = merged
        branches[branch] = oid
        return oid

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
