/* floor: the kernel calls of a bridge attachment and nothing else, the floor that ADD and DEL are
 * measured against. No parsing, no IPAM, no checks, no result.
 *
 *   floor add NETNS IFNAME HOSTVETH BRIDGE ADDRESS/PREFIX GATEWAY      (IPv4)
 *   floor del HOSTVETH
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static union {
  struct nlmsghdr header;
  char bytes[4096];
} message;

static void fail(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void begin(int type, int flags, const void* fixed, size_t length) {
  memset(&message, 0, sizeof message);
  message.header.nlmsg_type = type;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  message.header.nlmsg_len = NLMSG_LENGTH(length);
  memcpy(NLMSG_DATA(&message.header), fixed, length);
}

static struct rtattr* put(int type, const void* value, size_t length) {
  struct rtattr* a = (struct rtattr*)(message.bytes + NLMSG_ALIGN(message.header.nlmsg_len));
  a->rta_type = type;
  a->rta_len = RTA_LENGTH(length);
  if (length > 0) memcpy(RTA_DATA(a), value, length);
  message.header.nlmsg_len = NLMSG_ALIGN(message.header.nlmsg_len) + RTA_ALIGN(a->rta_len);
  return a;
}

static void put_string(int type, const char* text) {
  put(type, text, strlen(text) + 1);
}
static void put_u32(int type, uint32_t value) {
  put(type, &value, sizeof value);
}
static void end(struct rtattr* nest) {
  nest->rta_len = message.bytes + message.header.nlmsg_len - (char*)nest;
}

static int open_socket(void) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) fail("socket");
  return fd;
}

static void call(int fd, const char* what) {
  char answer[8192];
  if (send(fd, &message, message.header.nlmsg_len, 0) < 0) fail(what);
  const ssize_t n = recv(fd, answer, sizeof answer, 0);
  const struct nlmsghdr* h = (const struct nlmsghdr*)answer;
  if (n < 0 || h->nlmsg_type != NLMSG_ERROR) fail(what);
  errno = -((const struct nlmsgerr*)NLMSG_DATA(h))->error;
  if (errno != 0) fail(what);
}

/* ip link add HOST type veth peer name IFNAME netns NETNS */
static void add_veth(int fd, int netns, const char* host, const char* ifname) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
  begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  put_string(IFLA_IFNAME, host);
  struct rtattr* info = put(IFLA_LINKINFO, NULL, 0);
  put_string(IFLA_INFO_KIND, "veth");
  struct rtattr* data = put(IFLA_INFO_DATA, NULL, 0);
  struct rtattr* peer = put(VETH_INFO_PEER, &link, sizeof link);
  put_string(IFLA_IFNAME, ifname);
  put_u32(IFLA_NET_NS_FD, netns);
  end(peer);
  end(data);
  end(info);
  call(fd, "add veth");
}

/* ip link set dev INDEX [master MASTER] up */
static void set_up(int fd, int index, int master) {
  struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  begin(RTM_NEWLINK, 0, &link, sizeof link);
  if (master != 0) put_u32(IFLA_MASTER, master);
  call(fd, "set link up");
}

/* ip address add ADDRESS/PREFIX dev INDEX */
static void add_address(int fd, int index, struct in_addr address, int prefix) {
  struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = index};
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
  put(IFA_LOCAL, &address, sizeof address);
  call(fd, "add address");
}

/* ip route add default via GATEWAY dev INDEX */
static void add_default_route(int fd, int index, struct in_addr gateway) {
  struct rtmsg route = {.rtm_family = AF_INET,
                        .rtm_table = RT_TABLE_MAIN,
                        .rtm_protocol = RTPROT_BOOT,
                        .rtm_scope = RT_SCOPE_UNIVERSE,
                        .rtm_type = RTN_UNICAST};
  begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof route);
  put(RTA_GATEWAY, &gateway, sizeof gateway);
  put_u32(RTA_OIF, index);
  call(fd, "add route");
}

static int add(char** argv) {
  char text[64];
  struct in_addr address, gateway;
  snprintf(text, sizeof text, "%s", argv[4]);
  char* slash = strchr(text, '/');
  if (slash == NULL) return 2;
  *slash = 0;
  if (inet_pton(AF_INET, text, &address) != 1 || inet_pton(AF_INET, argv[5], &gateway) != 1)
    return 2;

  const int netns = open(argv[0], O_RDONLY | O_CLOEXEC);
  if (netns < 0) fail("open netns");
  const int host = open_socket();
  add_veth(host, netns, argv[2], argv[1]);
  set_up(host, if_nametoindex(argv[2]), if_nametoindex(argv[3]));

  if (setns(netns, CLONE_NEWNET) < 0) fail("setns");
  const int inside = open_socket();
  const int index = if_nametoindex(argv[1]);
  set_up(inside, index, 0);
  add_address(inside, index, address, atoi(slash + 1));
  add_default_route(inside, index, gateway);
  return 0;
}

static int del(const char* name) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
  begin(RTM_DELLINK, 0, &link, sizeof link);
  put_string(IFLA_IFNAME, name);
  call(open_socket(), "delete link");
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 8 && strcmp(argv[1], "add") == 0) return add(argv + 2);
  if (argc == 3 && strcmp(argv[1], "del") == 0) return del(argv[2]);
  fprintf(stderr,
          "usage: floor add NETNS IFNAME HOSTVETH BRIDGE ADDRESS/PREFIX GATEWAY | floor del "
          "HOSTVETH\n");
  return 2;
}
