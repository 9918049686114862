"""Which processes an appliance consists of."""

from __future__ import annotations

from deploy.appliance.children import application_children
from deploy.appliance.environment import read_environment


def test_imports_have_a_cluster_of_their_own_beside_housekeeping() -> None:
    children = {spec.name: spec for spec in application_children(read_environment({}), {"A": "b"})}
    assert list(children) == ["gpu", "web", "house", "imports"]
    assert children["imports"].argv == children["house"].argv
    assert children["imports"].env == {**children["house"].env, "Q_CLUSTER_NAME": "imports"}
    # A long download must not keep the appliance from stopping: it goes on at the next start.
    assert children["imports"].stop_grace_s < children["house"].stop_grace_s
