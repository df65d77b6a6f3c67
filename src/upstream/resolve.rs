//! Host names of members, looked up off the worker threads and followed when they change.
