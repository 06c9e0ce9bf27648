// kill -9 at every system call of reserving and releasing: what is left must be whole.

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "ipam/host_local/disk_store.h"
#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using testing::readText;

constexpr std::size_t kStopLimit = 2000;

/// Runs `body` in a child that is killed when it enters or leaves its `stop`th system call. False
/// if it ended by itself before that.
bool killAtStop(std::size_t stop, const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    (void)::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  for (std::size_t seen = 0; WIFSTOPPED(state); ++seen) {
    if (seen == stop) ::kill(child, SIGKILL);
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &state, 0);
  }
  return WIFSIGNALED(state);
}

class CrashTest : public ::testing::Test {
 protected:
  CrashTest() { std::filesystem::create_directory(temp / "run"); }

  DiskStore open() { return DiskStore::ensure(temp / "net", options).value(); }
  void reserve() {
    DiskStore store = open();
    if (store.findByOwner(kOwner).value().empty()) (void)store.reserve(kAddress, kOwner);
    store.rememberLast(0, kAddress);
  }
  void release() {
    DiskStore store = open();
    const auto addresses = store.findByOwner(kOwner).value();
    for (const IpAddress& address : addresses)
      (void)store.release(address);
  }
  std::vector<IpAddress> find(const std::string& indexRoot) {
    DiskStoreOptions where = options;
    where.indexRoot = indexRoot;
    return DiskStore::ensure(temp / "net", where)->findByOwner(kOwner).value();
  }
  /// What the index says is what the files say, and each file is whole.
  void verify() {
    const std::string path = temp / ("net/" + kAddress.text());
    const bool present = testing::exists(path);
    EXPECT_EQ(readText(path), present ? "c1\r\neth0" : "");
    const auto known = find(options.indexRoot);
    EXPECT_EQ(known, find(temp / "nowhere/at/all")) << "the index disagrees with the directory";
    EXPECT_EQ(known.size(), present ? 1U : 0U);
  }

  static inline const Owner kOwner{"c1", "eth0"};
  static inline const IpAddress kAddress = IpAddress::parse("10.1.2.3").value();
  testing::TempDir temp;
  DiskStoreOptions options{.indexRoot = temp / "run/culvert/host-local"};
};

TEST_F(CrashTest, AnywhereInAddLeavesAWholeReservationOrNone) {
  std::size_t stop = 0;
  while (stop < kStopLimit && killAtStop(stop, [&] { reserve(); })) {
    verify();
    release();
    verify();
    ++stop;
  }
  EXPECT_GT(stop, 20U) << "the child was never killed";
  EXPECT_LT(stop, kStopLimit);
}

TEST_F(CrashTest, InTheVeryFirstAddLeavesAWholeReservationOrNone) {
  std::size_t stop = 0;
  while (stop < kStopLimit && killAtStop(stop, [&] { reserve(); })) {
    verify();
    std::filesystem::remove_all(temp / "net");
    std::filesystem::remove_all(temp / "run/culvert");
    ++stop;
  }
  EXPECT_GT(stop, 20U);
}

TEST_F(CrashTest, AnywhereInDelIsMadeGoodByTheNextDel) {
  std::size_t stop = 0;
  reserve();
  while (stop < kStopLimit && killAtStop(stop, [&] { release(); })) {
    verify();
    release();
    EXPECT_TRUE(find(options.indexRoot).empty());
    reserve();
    ++stop;
  }
  EXPECT_GT(stop, 20U);
}

}  // namespace
}  // namespace culvert::ipam
