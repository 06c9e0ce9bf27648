#include "daemons/services/flows.h"

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using test::ip;

conntrack::Entry flow(const std::string& answeredBy, std::uint16_t port) {
  conntrack::Entry entry;
  entry.protocol = 17;
  entry.original = {ip("10.1.0.9"), ip("10.96.0.1"), 5000, 53};
  entry.reply = {ip(answeredBy), ip("10.1.0.9"), port, 5000};
  return entry;
}

TEST(Flows, AreStaleIfNobodyServesWhereTheyGo) {
  const std::vector<Backend> serving{{ip("10.1.0.2"), 53, true}};
  EXPECT_FALSE(isStale(flow("10.1.0.2", 53), serving));
  EXPECT_TRUE(isStale(flow("10.1.0.3", 53), serving)) << "the endpoint is gone";
  EXPECT_TRUE(isStale(flow("10.1.0.2", 1053), serving)) << "its port is another";
  EXPECT_TRUE(isStale(flow("10.1.0.2", 53), {})) << "no endpoint is left";
  EXPECT_TRUE(isStale(flow("10.96.0.1", 53), serving)) << "it began before there was an endpoint";
  EXPECT_FALSE(isStale(flow("10.96.0.1", 53), {})) << "nobody could answer anyway";
}

}  // namespace
}  // namespace culvert::services
