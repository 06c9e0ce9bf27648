// The TLS half of Asio, compiled once; the rest is culvert_asio.
#include <boost/asio/ssl/impl/src.hpp>
