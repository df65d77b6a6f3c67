//! Passive health: ejection of members that fail real requests.
