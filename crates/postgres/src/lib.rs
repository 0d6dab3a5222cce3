//! PostgreSQL as Manada meets it: drives one local server, reads any server.
