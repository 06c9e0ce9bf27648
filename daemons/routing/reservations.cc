#include "daemons/routing/reservations.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <optional>

#include "daemons/sources/folder_watch.h"
#include "ipam/host_local/reservation_directory.h"

namespace culvert::routing {

namespace asio = boost::asio;

class Reservations::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& loop, std::string path, std::function<void()> changed)
      : directory(std::move(path)), loop_(loop), onChange_(std::move(changed)) {}

  Result<void> start();
  void stop();

  const std::string directory;
  std::set<IpAddress> all;

 private:
  void wait();
  void hear();
  void readAll();
  void look(const std::string& name);

  asio::io_context& loop_;
  std::function<void()> onChange_;
  std::optional<sources::FolderWatch> folder_;
  std::optional<asio::posix::stream_descriptor> readable_;
};

Result<void> Reservations::Impl::start() {
  folder_.emplace(TRY(sources::FolderWatch::open(directory)));
  readable_.emplace(loop_, folder_->fd());
  readAll();
  wait();
  return {};
}

void Reservations::Impl::stop() {
  if (readable_) readable_->release();  // the FolderWatch owns the descriptor
  readable_.reset();
}

void Reservations::Impl::wait() {
  if (!readable_) return;
  readable_->async_wait(asio::posix::stream_descriptor::wait_read,
                        [weak = weak_from_this()](const boost::system::error_code& error) {
                          const auto self = weak.lock();
                          if (error || !self || !self->readable_) return;
                          self->hear();
                          self->wait();
                        });
}

void Reservations::Impl::hear() {
  const std::set<IpAddress> before = all;
  const auto changes = folder_->take();
  if (changes.everything) readAll();
  for (const std::string& name : changes.names)
    look(name);
  if (all != before) onChange_();
}

/// None, if there is no directory; as it was, if it cannot be read.
void Reservations::Impl::readAll() {
  const auto opened = ipam::ReservationDirectory::open(directory);
  if (!opened && opened.error().code == Errc::kNotFound) all.clear();
  if (!opened) return;
  if (auto listed = opened->listReserved()) all = *std::move(listed);
}

void Reservations::Impl::look(const std::string& name) {
  const auto address = IpAddress::parse(name);
  if (!address || address->text() != name) return;
  const std::string path = directory + "/" + name;
  if (::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    all.insert(*address);
  else
    all.erase(*address);
}

Reservations::Reservations(asio::io_context& loop, std::string directory,
                           std::function<void()> onChange)
    : impl_(std::make_shared<Impl>(loop, std::move(directory), std::move(onChange))) {}
Reservations::~Reservations() {
  stop();
}
Result<void> Reservations::start() {
  return impl_->start();
}
void Reservations::stop() {
  impl_->stop();
}
const std::string& Reservations::directory() const {
  return impl_->directory;
}
const std::set<IpAddress>& Reservations::all() const {
  return impl_->all;
}

std::size_t countIn(const std::set<IpAddress>& addresses, const IpPrefix& network) {
  return static_cast<std::size_t>(std::distance(addresses.lower_bound(network.network().address()),
                                                addresses.upper_bound(network.last())));
}

}  // namespace culvert::routing
