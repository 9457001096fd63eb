"""A web server for signatures, as texts of its files: nginx with a configuration and a unit of its own.

The system's own nginx, which may serve something else, is neither changed nor needed. No I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from _registry_host_units import UNIT_MARK

NAME = "docker-registry-signatures"
UNIT = f"/etc/systemd/system/{NAME}.service"
_PID = f"/run/{NAME}.pid"


@dataclass(frozen=True)
class Web:
    """What is served, and how.

    Args:
        directory: of the signatures.
        port: TCP port, on all addresses.
        user: whom it reads files as.
        ipv6: whether this host knows IPv6.
        certificate: path; with ``key`` it speaks TLS.
        key: path.
    """

    directory: str
    port: int
    user: str
    ipv6: bool = True
    certificate: str = ""
    key: str = ""


def configuration(web: Web) -> str:
    """The whole configuration: only signatures are served, and what is not there is a true 404.

    Anything else in its place would have engines refuse the image.
    """
    listen = f"[::]:{web.port} ipv6only=off" if web.ipv6 else str(web.port)
    tls = [
        f"ssl_certificate {json.dumps(web.certificate)};",
        f"ssl_certificate_key {json.dumps(web.key)};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
    ]
    server = [
        f"listen {listen}{' ssl' if web.certificate else ''};",
        *(tls if web.certificate else []),
        f"root {json.dumps(web.directory)};",
        'location ~ "@sha(256=[0-9a-f]{64}|512=[0-9a-f]{128})/signature-[1-9][0-9]*$" {',
        "    limit_except GET { deny all; }",
        "}",
        "location / { return 404; }",
    ]
    http = [
        "access_log off;",
        # The end of each list of signatures.
        "log_not_found off;",
        "server_tokens off;",
        "default_type application/octet-stream;",
        "sendfile on;",
        "server {",
        *(f"    {line}" for line in server),
        "}",
    ]
    lines = [
        f"user {web.user};",
        "worker_processes 1;",
        f"pid {_PID};",
        "error_log stderr;",
        "events { worker_connections 1024; }",
        "http {",
        *(f"    {line}" for line in http),
        "}",
    ]
    return UNIT_MARK + "".join(f"{line}\n" for line in lines)


def unit(program: str, config: str) -> str:
    """The unit of systemd that runs it.

    Args:
        program: path of nginx.
        config: path of the configuration.

    On SELinux nginx may neither listen on a port such as 5001 nor read below /var/lib in its own domain; what
    another program starts stays in that one's.
    """
    command = f"/usr/bin/env {program} -c {config}"
    return UNIT_MARK + "\n".join(
        [
            "[Unit]",
            "Description=Signatures of the images of the Docker registry",
            "After=network-online.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            "Type=forking",
            f"PIDFile={_PID}",
            f"ExecStartPre={command} -t -q",
            f"ExecStart={command}",
            f"ExecReload={command} -s reload",
            "KillSignal=SIGQUIT",
            "KillMode=mixed",
            "TimeoutStopSec=5",
            "Restart=always",
            "RestartSec=5",
            "PrivateTmp=true",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
