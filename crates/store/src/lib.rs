//! Where the record and the lease of a herd are kept: a file on one machine, etcd across machines.
