//! The client side of PostgreSQL's replication protocol: bytes in, messages out. No IO.
