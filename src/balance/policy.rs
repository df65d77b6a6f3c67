//! The policies that choose a member.
