//! The AI gateway: providers, their keys, their models.

pub use credential::CredentialMetrics;

mod credential;
