"""The proxy of the hub to try: configurable-http-proxy in Python, which pip installs; no Node is needed.

Its client serves ten requests at a time and waits 20 s unless told otherwise: pages that report a start keep
one each, and Validate runs a whole notebook. On a server, take the proxy in Node (README.md).
"""

from __future__ import annotations

from configurable_http_proxy.cli import main
from tornado.httpclient import AsyncHTTPClient

if __name__ == "__main__":
    AsyncHTTPClient.configure(None, max_clients=500, defaults={"request_timeout": 3600})
    main()
