//! Balance: pool -> Pick, a guard on one member.
pub mod health;
pub mod member;
pub mod outlier;
pub mod policy;
