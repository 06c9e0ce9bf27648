// Asio and Beast, compiled once: culvert_asio defines BOOST_ASIO_SEPARATE_COMPILATION and
// BOOST_BEAST_SEPARATE_COMPILATION for all who link it.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
