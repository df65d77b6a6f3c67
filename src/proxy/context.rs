//! RequestContext: what one request carries from stage to stage.
