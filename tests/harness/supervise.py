"""`python -m tests.harness.supervise PLAN.json`: the product's own supervisor over a drill's processes.

PostgreSQL first, the others once it accepts connections. Only the growing wait before a restart is switched
off: a drill kills something every few seconds, which no real machine does for long.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from deploy.appliance import supervisor as product
from deploy.appliance.children import postgres_child
from deploy.appliance.logs import LogSink
from deploy.appliance.postgres import PrivateCluster
from deploy.appliance.supervisor import ChildSpec, Supervisor
from deploy.appliance.terminal import Terminal

REPOSITORY = Path(__file__).resolve().parents[2]


def supervise(plan: dict[str, Any]) -> None:
    """Returns after SIGTERM, when every child has ended."""
    product.MAX_BACKOFF_S = product.FIRST_BACKOFF_S  # type: ignore[misc]  # final, except here
    home = Path(plan["home"])
    cluster = PrivateCluster(home, fsync=plan["fsync"], settings=plan["postgres"])
    cluster.ensure()
    sink = LogSink(home / "logs", Terminal(), on_screen=False)
    supervisor = Supervisor(sink)
    supervisor.add(postgres_child(cluster))
    threading.Thread(target=_add_children, args=(supervisor, cluster, plan["children"]), daemon=True).start()
    supervisor.run()
    sink.close()


def _add_children(supervisor: Supervisor, cluster: PrivateCluster, children: list[dict[str, Any]]) -> None:
    cluster.wait_ready(timeout_s=60)
    for child in children:
        supervisor.add(ChildSpec(cwd=REPOSITORY, stop_grace_s=15.0, **child))


if __name__ == "__main__":
    supervise(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
