#include "ipam/host_local/disk_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;
using testing::exists;
using testing::readText;
using testing::writeText;

const Owner kOwner{"c1", "eth0"};

IpAddress ip(const std::string& text) {
  return IpAddress::parse(text).value();
}

/// A network directory and an index folder of its own.
class DiskStoreTest : public ::testing::Test {
 protected:
  DiskStoreTest() { std::filesystem::create_directory(temp / "run"); }

  std::string file(const std::string& name) const { return directory + "/" + name; }
  DiskStore open() const {
    auto store = DiskStore::ensure(directory, options);
    EXPECT_TRUE(store) << store.error().message;
    return *std::move(store);
  }
  bool reserve(const std::string& address, const Owner& owner = kOwner) const {
    const auto reserved = open().reserve(ip(address), owner);
    EXPECT_TRUE(reserved) << reserved.error().message;
    return reserved && *reserved;
  }
  std::vector<std::string> find(const Owner& owner = kOwner) const {
    DiskStore store = open();
    const auto found = store.findByOwner(owner);
    EXPECT_TRUE(found) << found.error().message;
    std::vector<std::string> texts;
    for (const IpAddress& address : found.value())
      texts.push_back(address.text());
    return texts;
  }
  void release(const std::string& address) const {
    DiskStore store = open();
    ASSERT_TRUE(store.findByOwner(kOwner));  // as DEL does, which makes the index valid
    EXPECT_TRUE(store.release(ip(address)));
  }
  /// Whether the next process to come would believe the index.
  bool indexIsValid() const {
    struct stat info {};
    EXPECT_EQ(::stat(directory.c_str(), &info), 0);
    return OwnerIndex::open(options.indexRoot, info).isValid();
  }

  testing::TempDir temp;
  std::string directory = temp / "data/net";
  DiskStoreOptions options{.indexRoot = temp / "run/culvert/host-local", .patience = 100ms};
};

TEST_F(DiskStoreTest, WritesTheReferencesFormat) {
  open().rememberLast(0, ip("10.1.2.3"));
  EXPECT_TRUE(reserve("10.1.2.3"));
  EXPECT_TRUE(reserve("2001:DB8:0::5"));
  EXPECT_EQ(readText(file("10.1.2.3")), "c1\r\neth0");
  EXPECT_EQ(readText(file("2001:db8::5")), "c1\r\neth0");
  EXPECT_EQ(readText(file("last_reserved_ip.0")), "10.1.2.3");
  struct stat info {};
  ASSERT_EQ(::stat(file("10.1.2.3").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFREG | 0600U);
  ASSERT_EQ(::stat(file("lock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFREG | 0750U);
  ASSERT_EQ(::stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFDIR | 0755U);
  EXPECT_EQ(testing::countEntries(directory), 4U) << "and nothing else";
}

TEST_F(DiskStoreTest, ATakenAddressStaysWithItsOwner) {
  EXPECT_TRUE(reserve("10.1.2.3"));
  EXPECT_FALSE(reserve("10.1.2.3", {"c2", "eth0"}));
  EXPECT_EQ(readText(file("10.1.2.3")), "c1\r\neth0");
}

TEST_F(DiskStoreTest, OpeningAMissingDirectoryCreatesNothing) {
  const auto store = DiskStore::open(directory, options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kNotFound);
  EXPECT_FALSE(exists(temp / "data"));
}

TEST_F(DiskStoreTest, FindsAllOfAnOwnersAddressesAndNobodyElses) {
  reserve("10.1.2.3");
  reserve("10.1.2.4", {"c1", "eth1"});
  reserve("10.1.2.5", {"c1x", "eth0"});
  reserve("2001:db8::5");
  EXPECT_THAT(find(), UnorderedElementsAre("10.1.2.3", "2001:db8::5"));
  EXPECT_TRUE(indexIsValid());
  EXPECT_THAT(find(), UnorderedElementsAre("10.1.2.3", "2001:db8::5")) << "from the index, too";
  EXPECT_THAT(find({"c1", "eth1"}), ElementsAre("10.1.2.4"));
  EXPECT_TRUE(find({"c1", "eth2"}).empty());
}

TEST_F(DiskStoreTest, LegacyReservationsCountOnlyIfThereIsNoExactOne) {
  open();
  writeText(file("10.1.2.3"), "c1");
  writeText(file("10.1.2.4"), "c1\n");
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(find(), UnorderedElementsAre("10.1.2.3", "10.1.2.4"));
  }
  reserve("10.1.2.5");
  EXPECT_THAT(find(), ElementsAre("10.1.2.5"));
  EXPECT_THAT(find({"c1", "eth1"}), UnorderedElementsAre("10.1.2.3", "10.1.2.4"));
}

TEST_F(DiskStoreTest, AnEmptyReservationIsFree) {
  open();
  writeText(file("10.1.2.3"), "");
  EXPECT_FALSE(open().isReserved(ip("10.1.2.3")).value());
  EXPECT_TRUE(reserve("10.1.2.3"));
  EXPECT_EQ(readText(file("10.1.2.3")), "c1\r\neth0");
  EXPECT_THAT(find(), ElementsAre("10.1.2.3"));
}

/// Whatever stands at an address's name is in use; nothing hangs on it, follows it or changes it.
TEST_F(DiskStoreTest, WhatIsNoReservationIsInUseAndLeftAlone) {
  open();
  writeText(temp / "target", "c1\r\neth0");
  writeText(file("10.1.2.1"), "reserved by ops");
  writeText(file("10.1.2.2"), std::string("\0\0\0\0", 4));
  ASSERT_EQ(::mkfifo(file("10.1.2.3").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir(file("10.1.2.4").c_str(), 0700), 0);
  ASSERT_EQ(::symlink((temp / "target").c_str(), file("10.1.2.5").c_str()), 0);
  ASSERT_EQ(::symlink("/nowhere", file("10.1.2.6").c_str()), 0);
  writeText(file("10.1.2.7"), std::string(300'000, 'x'));
  writeText(file("2001:DB8::1"), "c1\r\neth0");
  for (int n = 1; n <= 7; ++n) {
    const std::string address = "10.1.2." + std::to_string(n);
    EXPECT_TRUE(open().isReserved(ip(address)).value()) << address;
    EXPECT_FALSE(reserve(address)) << address;
  }
  EXPECT_TRUE(find().empty()) << "a link to a reservation is none";
  EXPECT_TRUE(find({std::string(300'000, 'x'), ""}).empty());
  EXPECT_EQ(readText(temp / "target"), "c1\r\neth0");
  EXPECT_EQ(testing::countEntries(directory), 9U) << "eight and the lock";
}

TEST_F(DiskStoreTest, TheHintIsReadWhateverItIs) {
  DiskStore store = open();
  EXPECT_FALSE(store.lastReserved(0));
  for (const char* text : {"", "garbage", "10.1.2", "::", "10.1.2.3extra"}) {
    writeText(file("last_reserved_ip.0"), text);
    EXPECT_EQ(store.lastReserved(0), IpAddress::parse(text)) << text;
  }
  writeText(file("last_reserved_ip.0"), "10.1.2.3\n");
  EXPECT_EQ(store.lastReserved(0), ip("10.1.2.3"));
  store.rememberLast(0, ip("10.1.2.4"));
  EXPECT_EQ(readText(file("last_reserved_ip.0")), "10.1.2.4");
  store.rememberLast(0, ip("1.1.1.1"));
  EXPECT_EQ(readText(file("last_reserved_ip.0")), "1.1.1.1");
}

TEST_F(DiskStoreTest, AHintThatCannotBeReadOrWrittenDoesNotMatter) {
  DiskStore store = open();
  ASSERT_EQ(::mkdir(file("last_reserved_ip.0").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo(file("last_reserved_ip.1").c_str(), 0600), 0);
  ASSERT_EQ(::symlink((temp / "target").c_str(), file("last_reserved_ip.2").c_str()), 0);
  for (std::size_t set = 0; set < 3; ++set) {
    EXPECT_FALSE(store.lastReserved(set));
    store.rememberLast(set, ip("10.1.2.3"));
  }
  EXPECT_FALSE(exists(temp / "target"));
}

TEST_F(DiskStoreTest, ANamedTemporaryFileServesWhereUnnamedOnesDoNot) {
  open();
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  writeText(file(".culvert-new"), "left behind by one who was killed");
  {
    const auto reservation = NewReservation::createNamed(fd, kOwner);
    ASSERT_TRUE(reservation) << reservation.error().message;
    EXPECT_TRUE(reservation->linkAs("10.1.2.3").value());
    EXPECT_FALSE(reservation->linkAs("10.1.2.3").value());
  }
  EXPECT_EQ(readText(file("10.1.2.3")), "c1\r\neth0");
  EXPECT_FALSE(exists(file(".culvert-new")));
  ::close(fd);
}

// The index.

TEST_F(DiskStoreTest, OurOwnChangesKeepTheIndexValid) {
  find();
  reserve("10.1.2.3");
  EXPECT_TRUE(indexIsValid());
  reserve("10.1.2.4", {"c2", "eth0"});
  release("10.1.2.3");
  EXPECT_TRUE(indexIsValid());
  EXPECT_TRUE(find().empty());
  EXPECT_THAT(find({"c2", "eth0"}), ElementsAre("10.1.2.4"));
}

TEST_F(DiskStoreTest, AReservationThatSomebodyElseMadeIsFound) {
  reserve("10.1.2.3", {"c2", "eth0"});
  find();
  ASSERT_TRUE(indexIsValid());
  writeText(file("10.1.2.9"), "c1\r\neth0");
  EXPECT_FALSE(indexIsValid());
  EXPECT_THAT(find(), ElementsAre("10.1.2.9"));
  EXPECT_TRUE(indexIsValid());
}

TEST_F(DiskStoreTest, AReservationThatSomebodyElseRemovedIsGone) {
  reserve("10.1.2.3");
  ASSERT_THAT(find(), ElementsAre("10.1.2.3"));
  ASSERT_EQ(::unlink(file("10.1.2.3").c_str()), 0);
  EXPECT_TRUE(find().empty());
}

TEST_F(DiskStoreTest, AReservationRewrittenInPlaceChangesHands) {
  reserve("10.1.2.3");
  ASSERT_THAT(find(), ElementsAre("10.1.2.3"));
  writeText(file("10.1.2.3"), "c2\r\neth0");
  ASSERT_TRUE(indexIsValid()) << "the directory has not changed, the file has";
  EXPECT_TRUE(find().empty());
  EXPECT_THAT(find({"c2", "eth0"}), ElementsAre("10.1.2.3"));
}

TEST_F(DiskStoreTest, ACopyOfTheDirectoryIsReadAnew) {
  reserve("10.1.2.3");
  ASSERT_THAT(find(), ElementsAre("10.1.2.3"));
  struct stat info {};
  ASSERT_EQ(::stat(directory.c_str(), &info), 0);
  std::filesystem::rename(file("10.1.2.3"), file("10.1.2.4"));
  const std::array<timespec, 2> times{info.st_atim, info.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, directory.c_str(), times.data(), 0), 0) << "as rsync -a does";
  EXPECT_FALSE(indexIsValid());
  EXPECT_THAT(find(), ElementsAre("10.1.2.4"));
}

TEST_F(DiskStoreTest, ARemovedDirectoryTakesItsIndexAlong) {
  reserve("10.1.2.3");
  ASSERT_THAT(find(), ElementsAre("10.1.2.3"));
  std::filesystem::remove_all(directory);
  EXPECT_TRUE(find().empty());
  EXPECT_TRUE(reserve("10.1.2.3", {"c2", "eth0"}));
}

TEST_F(DiskStoreTest, TwoIndexesOfOneDirectoryDoNotBelieveEachOthersStamps) {
  DiskStoreOptions elsewhere = options;
  elsewhere.indexRoot = temp / "run/other";  // another mount namespace's /run
  reserve("10.1.2.3");
  ASSERT_THAT(find(), ElementsAre("10.1.2.3"));
  for (int round = 0; round < 3; ++round) {
    const std::string address = "10.1.2.1" + std::to_string(round);
    DiskStore other = DiskStore::ensure(directory, elsewhere).value();
    EXPECT_EQ(other.findByOwner(kOwner)->size(), static_cast<std::size_t>(round + 1));
    ASSERT_TRUE(other.reserve(ip(address), kOwner).value());
    { const DiskStore done = std::move(other); }
    EXPECT_THAT(find(), ::testing::Contains(address));
  }
}

TEST_F(DiskStoreTest, ADamagedIndexIsReplaced) {
  reserve("10.1.2.3");
  find();
  const auto index = std::filesystem::directory_iterator(options.indexRoot)->path();
  for (const std::string& damage :
       {std::string(), std::string(100, '\0'), std::string(9999, 'x')}) {
    writeText(index.string(), damage);
    EXPECT_FALSE(indexIsValid());
    EXPECT_THAT(find(), ElementsAre("10.1.2.3"));
    EXPECT_TRUE(indexIsValid());
  }
  std::filesystem::resize_file(index, std::filesystem::file_size(index) - 1);
  EXPECT_FALSE(indexIsValid());
}

TEST_F(DiskStoreTest, WithoutAPlaceForTheIndexEverythingWorks) {
  for (const std::string& root :
       {std::string("/proc/nowhere/x"), temp / "missing/run/culvert", temp / "afile/culvert"}) {
    writeText(temp / "afile", "");
    options.indexRoot = root;
    EXPECT_TRUE(reserve("10.1.2.3")) << root;
    EXPECT_THAT(find(), ElementsAre("10.1.2.3")) << root;
    release("10.1.2.3");
    EXPECT_TRUE(find().empty()) << root;
    EXPECT_FALSE(indexIsValid());
  }
  EXPECT_FALSE(exists(temp / "missing"));
}

/// Runs `body` in a child with a ramfs at `mountPoint`, a file system that is not known to be
/// local. False if that cannot be mounted.
bool runOnRamfs(const std::string& mountPoint, const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool mounted = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("none", mountPoint.c_str(), "ramfs", 0, nullptr) == 0;
    ::_exit(!mounted ? 2 : body() ? 0 : 1);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  EXPECT_NE(WEXITSTATUS(state), 1);
  return WEXITSTATUS(state) != 2;
}

TEST_F(DiskStoreTest, AFileSystemThatMayBeSharedHasNoIndex) {
  std::filesystem::create_directory(temp / "data");
  const bool mounted = runOnRamfs(temp / "data", [&] {
    const bool works = ::chdir(temp.path().c_str()) == 0 && reserve("10.1.2.3") &&
                       find() == std::vector<std::string>{"10.1.2.3"};
    return works && !indexIsValid() && !exists(options.indexRoot);
  });
  if (!mounted) GTEST_SKIP() << "cannot mount a ramfs (needs root)";
  EXPECT_EQ(testing::countEntries(temp.path()), 2U) << "data and run; nothing strayed here";
}

TEST_F(DiskStoreTest, TheIndexGrowsAndForgetsWithItsDirectory) {
  DiskStore store = open();
  ASSERT_TRUE(store.findByOwner(kOwner));
  IpAddress address = ip("10.1.0.0");
  for (int i = 0; i < 2000; ++i) {
    address = address.next();
    const Owner owner{"c" + std::to_string(i), "eth0"};
    ASSERT_TRUE(store.reserve(address, owner).value());
    if (i % 4 == 0) continue;
    ASSERT_TRUE(store.release(address));
  }
  { const DiskStore done = std::move(store); }
  ASSERT_TRUE(indexIsValid());
  for (int i = 0; i < 2000; i += 97) {
    EXPECT_EQ(find({"c" + std::to_string(i), "eth0"}).size(), i % 4 == 0 ? 1U : 0U) << i;
  }
}

TEST_F(DiskStoreTest, AnOwnerOfFiftyAddressesHasThemAllInTheIndex) {
  find();
  IpAddress address = ip("10.1.0.0");
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(reserve((address = address.next()).text()));
  ASSERT_TRUE(indexIsValid());
  EXPECT_EQ(find().size(), 50U);
}

// The lock.

TEST_F(DiskStoreTest, AHeldLockIsWaitedForAndThenReported) {
  open();
  const int held = ::open(file("lock").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  const auto before = std::chrono::steady_clock::now();
  const auto store = DiskStore::ensure(directory, options);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 100ms);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kTryAgain);
  EXPECT_EQ(store.error().message, directory + ": lock: another process has held it for 100 ms");
  EXPECT_EQ(store.error().details, "held by process " + std::to_string(::getpid()));
  ::close(held);
  EXPECT_TRUE(DiskStore::ensure(directory, options));
}

TEST_F(DiskStoreTest, ALockGivenUpInTimeIsTaken) {
  open();
  const int held = ::open(file("lock").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  options.patience = 10s;
  std::thread holder([&] {
    std::this_thread::sleep_for(50ms);
    ::close(held);
  });
  EXPECT_TRUE(DiskStore::ensure(directory, options));
  holder.join();
}

TEST_F(DiskStoreTest, ABlockedSigalrmDoesNotMakeTheWaitEndless) {
  open();
  const int held = ::open(file("lock").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  sigset_t alarm, before;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &alarm, &before), 0);
  EXPECT_FALSE(DiskStore::ensure(directory, options));
  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, &after), 0);
  EXPECT_EQ(sigismember(&after, SIGALRM), 1) << "and it is blocked again afterwards";
  ::close(held);
}

TEST_F(DiskStoreTest, ALockThatIsNoFileIsRefused) {
  std::filesystem::create_directories(directory);
  const auto refuses = [&] {
    const auto store = DiskStore::open(directory, options);
    const bool refused = !store && store.error().code == Errc::kIo;
    std::filesystem::remove(file("lock"));
    return refused;
  };
  ASSERT_EQ(::mkdir(file("lock").c_str(), 0700), 0);
  EXPECT_TRUE(refuses());
  ASSERT_EQ(::mkfifo(file("lock").c_str(), 0600), 0);
  EXPECT_TRUE(refuses());
  ASSERT_EQ(::symlink("/dev/null", file("lock").c_str()), 0);
  EXPECT_TRUE(refuses());
  ASSERT_EQ(::mknod(file("lock").c_str(), S_IFSOCK | 0600, 0), 0);
  EXPECT_TRUE(refuses()) << "not even DEL takes it for a missing directory";
}

/// "rm -rf" while others wait: who gets the lock of what is gone must not work there.
TEST_F(DiskStoreTest, ADirectoryRemovedWhileWeWaitIsCreatedAgain) {
  open();
  const int held = ::open(file("lock").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  options.patience = 10s;
  std::thread remover([&] {
    std::this_thread::sleep_for(50ms);
    std::filesystem::remove_all(directory);
    ::close(held);
  });
  EXPECT_TRUE(reserve("10.1.2.3"));
  remover.join();
  EXPECT_EQ(readText(file("10.1.2.3")), "c1\r\neth0");
}

TEST_F(DiskStoreTest, AFileInTheWayIsNamed) {
  writeText(temp / "data", "");
  const auto store = DiskStore::ensure(directory, options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kIo);
  EXPECT_THAT(store.error().message, HasSubstr(directory + ": Not a directory"));
}

// Garbage.

TEST_F(DiskStoreTest, CollectsWhatTheRuleSaysAndKeepsTheIndexValid) {
  reserve("10.1.2.3");
  reserve("10.1.2.4", {"c2", "eth0"});
  writeText(file("notes.txt"), "c2\r\neth0");
  open().rememberLast(0, ip("10.1.2.4"));
  const auto isGarbage = [](const Reservation& r) { return r == Reservation(Owner{"c2", "eth0"}); };
  ASSERT_TRUE(open().collect(isGarbage));
  EXPECT_TRUE(indexIsValid());
  EXPECT_THAT(find(), ElementsAre("10.1.2.3"));
  EXPECT_FALSE(exists(file("10.1.2.4")));
  EXPECT_TRUE(exists(file("notes.txt")));
  EXPECT_TRUE(exists(file("last_reserved_ip.0")));
}

TEST_F(DiskStoreTest, TheLastOneCollectedTakesTheIndexAlong) {
  reserve("10.1.2.3");
  find();
  ASSERT_TRUE(open().collect([](const Reservation&) { return true; }));
  EXPECT_EQ(testing::countEntries(options.indexRoot), 0U);
}

}  // namespace
}  // namespace culvert::ipam
