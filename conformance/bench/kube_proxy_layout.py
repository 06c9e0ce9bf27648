"""kube-proxy's nftables mode as text for `nft -f`: a chain and an anonymous map for each Service, one verdict map for all of them.

Written from the description of its chains in shared/reference/services.md 2.1 and 2.2.
"""

TABLE = "kube-proxy"
HEAD = f"""
table ip {TABLE} {{
  set cluster-ips {{ type ipv4_addr; }}
  set nodeport-ips {{ type ipv4_addr; elements = {{ 198.18.9.1 }}; }}
  set hairpin-connections {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
  map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; }}
  map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
  map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  chain mark-for-masquerade {{ mark set mark or 0x4000; }}
  chain masquerading {{
    mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
    ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
  }}
  chain services {{
    ip daddr @cluster-ips ip saddr != 172.20.0.0/16 jump mark-for-masquerade
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
  chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
  chain nodeport-endpoints-check {{ ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }}
  chain cluster-ips-check {{ ip daddr @cluster-ips reject; }}
  chain filter-prerouting-pre-dnat {{ type filter hook prerouting priority dstnat - 10; ct state new jump firewall-check; }}
  chain filter-output-pre-dnat {{ type filter hook output priority -110; ct state new jump firewall-check; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
  chain filter-input {{
    type filter hook input priority 0
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }}
  chain filter-forward {{
    type filter hook forward priority 0
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }}
  chain filter-output {{
    type filter hook output priority 0
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }}
}}
"""


def name_of(address):
    return f"service-{abs(hash(address)) % 10**8:08}-ns/{address}/tcp/http"


def service_rule(address, ends):
    table = ", ".join(f"{i} : {ip} . {port}" for i, (ip, port) in enumerate(ends))
    return f"meta l4proto tcp dnat ip to numgen random mod {len(ends)} map {{ {table} }}"


def service(address, ends):
    chain = name_of(address)
    return (f"add chain ip {TABLE} {chain}\n"
            f"add rule ip {TABLE} {chain} {service_rule(address, ends)}\n"
            f"add element ip {TABLE} cluster-ips {{ {address} }}\n"
            f"add element ip {TABLE} service-ips {{ {address} . tcp . 80 : goto {chain} }}\n")


def change(address, ends):
    """What kube-proxy writes when an endpoint has changed."""
    chain = name_of(address)
    return (f"add chain ip {TABLE} {chain}\n"
            f"flush chain ip {TABLE} {chain}\n"
            f"add rule ip {TABLE} {chain} {service_rule(address, ends)}\n")


def ruleset(services):
    return HEAD + "".join(service(address, ends) for address, ends in services)
