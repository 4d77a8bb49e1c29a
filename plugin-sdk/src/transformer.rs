//! What [`#[plugin]`](macro@crate::plugin) implements: the contract's two functions, in typed form, and the step from the
//! config's text to the config.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Error, Event, Manifest, Outcome, Result};

/// A type that can be a plugin's config: every type with the two derives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can not be the config of a plugin",
    label = "not a config",
    note = "a config needs `#[derive(serde::Deserialize, schemars::JsonSchema)]` and no borrowed fields"
)]
pub trait PluginConfig: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> PluginConfig for T {}

/// The config of a plugin whose function takes only the event: an object without members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A plugin. Implemented by the struct `Plugin` that [`#[plugin]`](macro@crate::plugin) makes beside the function.
pub trait Transformer {
    type Config: PluginConfig;

    /// What the plugin says about itself at upload.
    fn describe() -> Manifest;

    /// Decides what becomes of one event. A pure function: there is no clock, randomness, file or network.
    fn transform(event: &Event, config: &Self::Config) -> Result<Outcome>;

    /// As the gateway calls it: reads the config from JSON, then transforms.
    fn call(event: &Event, config_json: &str) -> Result<Outcome> {
        Self::transform(event, &parse_config(config_json)?)
    }
}

impl Manifest {
    /// The manifest of a plugin whose config is a `C`.
    pub fn of<C: PluginConfig>(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            config_schema: schemars::schema_for!(C).as_value().to_string(),
        }
    }
}

/// Reads a config; the error says where it does not fit as a JSON pointer, and never repeats a value:
/// it may be a secret.
fn parse_config<C: DeserializeOwned>(json: &str) -> Result<C> {
    let deserializer = &mut serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let place = pointer(error.path());
        Error::from(error.into_inner()).context(format!("the config does not fit at \"{place}\""))
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its shape is of interest")]
    struct Config {
        rules: Vec<Rule>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its shape is of interest")]
    struct Rule {
        branch: String,
    }

    #[test]
    fn a_config_that_does_not_fit_is_named_by_pointer() {
        let error =
            parse_config::<Config>(r#"{"rules":[{"branch":"a"},{"branch":5}]}"#).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(r#"the config does not fit at "/rules/1/branch": invalid type"#),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_member_is_refused() {
        let error = parse_config::<Config>(r#"{"rules":[],"rulez":1}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `rulez`"),
            "{error}"
        );
        assert!(parse_config::<NoConfig>("{}").is_ok());
        assert!(parse_config::<NoConfig>(r#"{"a":1}"#).is_err());
    }

    #[test]
    fn the_manifest_holds_the_schema_of_the_config() {
        let manifest = Manifest::of::<Config>("a", "1", "b");
        let schema: serde_json::Value = serde_json::from_str(&manifest.config_schema).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["rules"]));
        assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    }
}
