//! Certificates by SNI, replaced on reload.
