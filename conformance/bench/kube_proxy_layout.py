"""kube-proxy's nftables mode as text for `nft -f`: a chain and an anonymous map for each Service, one verdict map for all of them.

Written from the description of pkg/proxy/nftables/README.md; only what a packet to a cluster IP meets.
"""

TABLE = "kube-proxy"
HEAD = f"""
table ip {TABLE} {{
  set cluster-ips {{ type ipv4_addr; }}
  map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  chain mark-for-masquerade {{ mark set mark or 0x4000; }}
  chain masquerading {{ mark and 0x4000 == 0 return; mark set mark xor 0x4000; masquerade fully-random; }}
  chain services {{
    ip daddr @cluster-ips ip saddr != 172.20.0.0/16 jump mark-for-masquerade
    ip daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
  chain filter-forward {{ type filter hook forward priority 0; ct state new jump service-endpoints-check; }}
  chain filter-output {{ type filter hook output priority 0; ct state new jump service-endpoints-check; }}
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
