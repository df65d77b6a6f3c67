//! Pick -> HttpPeer.
