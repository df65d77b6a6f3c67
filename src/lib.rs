//! Sluicegate: a reverse proxy and AI gateway on Cloudflare's Pingora.
//!
//! The modules stand in the order in which a request meets them.

pub mod cli;
pub mod config;

pub mod server;
pub mod snapshot;

pub mod proxy;
pub mod route;

pub mod auth;
pub mod cache;
pub mod limit;
pub mod sanitize;

pub mod balance;
pub mod upstream;

pub mod ai;

pub mod transport;

pub mod admin;
pub mod observe;

pub mod clock;
