//! Where datagrams go.

use serde::Serialize;

use crate::atoms::Millis;
use crate::origin::Origin;
use crate::tcp::TcpDestination;

/// One of several destinations for each flow: for what one client sends from one address. An attempt that fails drops
/// the datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdpRoute {
    /// Chosen at random in proportion to the weights. None: every datagram is dropped. Of a cluster that the IR does not
    /// have, that has TLS or whose endpoints are no IP addresses, the datagrams are dropped.
    pub destinations: Vec<TcpDestination>,
    /// A flow in which neither side sends for this long has ended: the next datagram begins another.
    pub idle_timeout: Millis,
    /// The route that made it.
    pub origin: Origin,
}
