//! Headers towards the upstream and the client.
