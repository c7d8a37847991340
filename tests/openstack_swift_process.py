"""OpenStack Swift in one process: proxy with the S3 API, account, container and object server, one replica of everything.

Run with the Python of `.venv/swift`; the arguments are a folder and the ports of proxy, account, container and object server. All
data is in the folder; the next start continues with it. No other configuration is read, and no memcached is needed. The
process prints a line when the bucket exists and requests are answered.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402 -- what follows must find the patched modules
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.swob import Request  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

BUCKET = "scores"

PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# A container that was just made is seen at once.
recheck_container_existence = 0
recheck_account_existence = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""

STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

KINDS = ("account", "container", "object")


def main(folder: Path, proxy_port: int, *storage_ports: int) -> None:
    """Start the servers, and serve until a signal ends this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the tests, also if they are killed
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"ldsboard", b"tests"
    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    configurations = {"proxy": (PROXY, proxy_port)}
    for kind, port in zip(KINDS, storage_ports, strict=True):
        builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
        device = {
            "id": 0,
            "region": 0,
            "zone": 0,
            "weight": 1,
            "ip": "127.0.0.1",
            "port": port,
            "device": "disk",
            "meta": "",
        }
        builder.add_dev(device | {"replication_ip": "127.0.0.1", "replication_port": port})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))
        configurations[kind] = (STORAGE, port)
    servers = []
    for kind, (text, port) in configurations.items():
        path = folder / f"{kind}.conf"
        path.write_text(text.format(folder=folder, kind=kind))
        listener = eventlet.listen(("127.0.0.1", port), reuse_addr=True, reuse_port=False)
        application = loadapp(str(path), global_conf={"log_name": kind})
        servers.append(eventlet.spawn(wsgi.server, listener, application, log_output=False))
        if kind == "proxy":
            proxy = application
    create = {"REQUEST_METHOD": "PUT", "swift.authorize_override": True}
    response = Request.blank(f"/v1/AUTH_test/{BUCKET}", environ=create).get_response(proxy)
    print(response.status, flush=True)  # noqa: T201 -- the tests wait for this line
    for server in servers:
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
