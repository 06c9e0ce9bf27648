"""Many at once: no duplicate address, none lost, nothing left."""
import ipaddress
import os
import time

import pytest

from conftest import reservations
from lib import cni, configs, nft, traffic
from lib.cni import OURS, REFERENCE, Attachment

pytestmark = pytest.mark.netns

COUNT = 200


def run_all(host, attachments, verb, config_of=lambda a: a.config, limit=60):
    """Start every one before waiting for any; outcomes in order."""
    began = time.monotonic()
    running = [cni.start_fed(host, a.plugins.find(a.config["type"]),
                             cni.environment(verb, a.plugins, a.cid, a.netns, a.ifname, a.args), config_of(a))
               for a in attachments]
    outcomes = [cni.finish(p, f"{verb} {a.cid}", b"", began, limit) for p, a in zip(running, attachments)]
    for attachment, outcome in zip(attachments, outcomes):
        if verb == "ADD" and outcome.ok:
            attachment.result = outcome.json
    return outcomes


def all_addresses(attachments):
    return [address for a in attachments for address in a.addresses]


def assert_unique(addresses, expected):
    assert len(addresses) == expected
    assert len(set(addresses)) == expected


@pytest.mark.parametrize("subnets", [("10.20.0.0/23",), ("10.20.0.0/23", "fd20::/64")], ids=["IPv4", "dual stack"])
def test_200_containers_at_once(subnets, host, outside, spaces, tmp_path):
    config = configs.bridge(tmp_path, "1.0.0", subnets=subnets, ipMasq=True, macspoofchk=True)
    made = [Attachment(host, config, spaces.new("c")) for _ in range(COUNT)]
    for outcome in run_all(host, made, "ADD"):
        outcome.expect_ok()
    assert_unique(all_addresses(made), COUNT * len(subnets))
    assert set(reservations(tmp_path, "blue")) == set(all_addresses(made))
    assert len(host.links()) == COUNT + 2
    for attachment in made[:: COUNT // 10]:
        assert traffic.reach(attachment.container, outside, "198.18.0.2") == "198.18.0.1"
        attachment.check().expect_ok()
    for outcome in run_all(host, made, "DEL", lambda a: a.with_result()):
        outcome.expect_ok()
    assert host.links() == ["cni0", "uplink"]
    assert reservations(tmp_path, "blue") == {}
    if not cni.IS_REFERENCE:
        assert nft.tables(host) == []


def test_200_containers_of_a_routed_network_at_once(host, spaces, tmp_path):
    made = [Attachment(host, configs.ptp(tmp_path, "1.0.0", ipMasq=True, subnets=("10.30.0.0/23",)), spaces.new("c")) for _ in range(COUNT)]
    for outcome in run_all(host, made, "ADD"):
        outcome.expect_ok()
    assert_unique(all_addresses(made), COUNT)
    assert traffic.reach(made[3].container, made[COUNT - 1].container, made[COUNT - 1].addresses[0])
    for outcome in run_all(host, made, "DEL"):
        outcome.expect_ok()
    assert host.links() == [] and reservations(tmp_path, "direct") == {}


def test_adds_and_dels_mixed(host, spaces, tmp_path):
    """Half leave while the other half arrive: a pool too small for both at once by one address only."""
    config = configs.bridge(tmp_path, "1.0.0", subnets=("10.20.0.0/25",), ipMasq=True)
    staying = [Attachment(host, config, spaces.new("c")) for _ in range(60)]
    arriving = [Attachment(host, config, spaces.new("c")) for _ in range(60)]
    for outcome in run_all(host, staying, "ADD"):
        outcome.expect_ok()
    pairs = [a for pair in zip(staying, arriving) for a in pair]
    began = time.monotonic()
    running = [cni.start_fed(host, OURS.find("bridge"),
                             cni.environment("ADD" if i % 2 else "DEL", OURS, a.cid, a.netns, a.ifname), config)
               for i, a in enumerate(pairs)]
    for i, (p, a) in enumerate(zip(running, pairs)):
        outcome = cni.finish(p, f"{'ADD' if i % 2 else 'DEL'} {a.cid}", b"", began).expect_ok()
        if i % 2:
            a.result = outcome.json
    assert_unique(all_addresses(arriving), 60)
    assert set(reservations(tmp_path, "blue")) == set(all_addresses(arriving))
    for attachment in arriving[::12]:
        if not cni.IS_REFERENCE:
            attachment.check().expect_ok()


def test_the_last_addresses_go_to_as_many_as_there_are(host, container, tmp_path):
    """13 addresses, 40 ask: 13 get one each, the others a clear refusal."""
    config = configs.ipam_only(tmp_path, "1.0.0", subnets=("10.40.0.0/28",))
    made = [Attachment(host, config, container) for _ in range(40)]
    outcomes = run_all(host, made, "ADD")
    served = [a for a, o in zip(made, outcomes) if o.ok]
    assert_unique(all_addresses(served), 13)
    for outcome in outcomes:
        if not outcome.ok:
            outcome.expect_error(None, "10.40.0.")


def test_ours_and_the_references_host_local_share_a_directory_in_parallel(host, container, tmp_path):
    config = configs.ipam_only(tmp_path, "1.0.0", subnets=("10.40.0.0/22", "fd40::/64"))
    made = [Attachment(host, config, container, plugins=(OURS, REFERENCE)[i % 2]) for i in range(COUNT)]
    for outcome in run_all(host, made, "ADD"):
        outcome.expect_ok()
    assert_unique(all_addresses(made), 2 * COUNT)
    stored = reservations(tmp_path, "pool")
    assert set(stored) == set(all_addresses(made))
    for attachment in made:
        for address in attachment.addresses:
            assert stored[address] == f"{attachment.cid}\r\neth0".encode()
    for attachment in made:  # each is deleted by the other one
        attachment.plugins = REFERENCE if attachment.plugins is OURS else OURS
    for outcome in run_all(host, made, "DEL"):
        outcome.expect_ok()
    assert reservations(tmp_path, "pool") == {}
    assert sorted(os.listdir(tmp_path / "pool")) == ["last_reserved_ip.0", "last_reserved_ip.1", "lock"]


def test_the_same_attachment_many_times_at_once_succeeds_once(host, container, tmp_path):
    """A runtime that retries too eagerly: one wins, the others fail, one address is used."""
    config = configs.bridge(tmp_path, "1.0.0", ipMasq=True)
    made = [Attachment(host, config, container, cid="eager") for _ in range(20)]
    outcomes = run_all(host, made, "ADD")
    winners = [a for a, o in zip(made, outcomes) if o.ok]
    assert len(winners) == 1
    assert list(reservations(tmp_path, "blue")) == winners[0].addresses
    assert ipaddress.ip_address(winners[0].addresses[0]) in ipaddress.ip_network("10.20.0.0/24")
    assert winners[0].addresses[0] in container.ip("address")
    if not cni.IS_REFERENCE:
        winners[0].check().expect_ok()
    assert len(host.links()) == 2
