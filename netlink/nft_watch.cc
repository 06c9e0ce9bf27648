#include "netlink/nft_watch.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cerrno>

namespace culvert::nft {
namespace {

/// Tables, chains, rules, sets and elements all name their table in attribute 1.
static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
              NFTA_SET_TABLE == 1 && NFTA_SET_ELEM_LIST_TABLE == 1);

bool concerns(const netlink::Reply& reply, const Table& table) {
  if (reply.type >> 8 != NFNL_SUBSYS_NFTABLES || (reply.type & 0xff) == NFT_MSG_NEWGEN)
    return false;
  if (reply.payload.size() < sizeof(nfgenmsg)) return false;
  return reply.header<nfgenmsg>().nfgen_family == static_cast<std::uint8_t>(table.family) &&
         reply.attributes(sizeof(nfgenmsg)).string(NFTA_TABLE_NAME) == table.name;
}

}  // namespace

Result<Watch> Watch::open() {
  Watch watch(TRY(netlink::Socket::open(NETLINK_NETFILTER)));
  TRY(watch.socket_.subscribe(NFNLGRP_NFTABLES));
  return watch;
}

Result<bool> Watch::drain(const Table& table, std::uint32_t own) {
  for (bool changed = false;;) {
    auto replies = socket_.receiveWaiting();
    if (!replies) {
      if (replies.error().sysErrno != ENOBUFS) return std::move(replies).error();
      changed = true;  // the kernel is silent until the rest has been read
      continue;
    }
    if (!*replies) return changed;
    for (const netlink::Reply& reply : **replies)
      changed = changed || (reply.port != own && concerns(reply, table));
  }
}

}  // namespace culvert::nft
