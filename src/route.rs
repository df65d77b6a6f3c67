//! Route: request -> the route that takes it.
//!
//! [`NormalPath`] reads the path of a request the way the backends behind us may read it, [`RouteTable`] picks the
//! most specific route for it, and [`rewrite`] makes the path or the Location that follows from the route.
//!
//! **Invariant:** what is forwarded, read again, chooses the same route. So a rule on a path (an allow-list, a limit)
//! cannot be passed by writing the path another way.

pub mod path;
pub mod rewrite;
pub mod table;

pub use path::{BadPath, NormalPath};
pub use table::{Found, RequestView, RouteTable};
