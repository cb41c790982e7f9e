"""An S3-compatible store on loopback: moto's, one request at a time.

moto looks whether an object is there and then writes it; threads of its own server could both look
first. A store that keeps the promise of `If-None-Match: *` does both at once, as this one does.
"""

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def main() -> None:
    """Serve on the port that is the first argument."""
    application = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=False)


if __name__ == "__main__":
    main()
