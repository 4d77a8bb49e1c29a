//! How the configs of the plugins in this repository name the values of an event, and templates over them: one way for
//! all, so that who has configured one plugin can configure the next.
//!
//! A name is a dotted path (`repository.full_name`, `commits.0.id`) or a JSON pointer (`/commits/0/id`, RFC 6901) into the
//! payload, or one of the event's own: `@type`, `@id`, `@application` (its uid if it has one). In a template a name stands
//! in double braces: `{{repository.full_name}}`.
//!
//! [`Members`] is for plugins that rewrite a payload and keep what they do not touch.

mod members;
mod template;
mod values;

pub use members::Members;
pub use template::{Template, TemplateError, as_it_is, render_all};
pub use values::{Values, find};
