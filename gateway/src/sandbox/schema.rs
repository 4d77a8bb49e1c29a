//! Checks a plugin's config schema, and configs against it. Schemas come from tenants and run in this process, so
//! only such are taken as validate in bounded time: linear-time regular expressions, nothing fetched, references
//! that neither recurse nor multiply.

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a schema or a config, as JSON; specified.
pub(super) const JSON_BYTES: usize = 64 << 10;

/// Parts of a schema after each reference is replaced by what it refers to. A config of 64 KiB has at most some
/// 30,000 values, each looked at once per part: seconds at the very worst.
const EXPANDED_PARTS: u64 = 5_000;

/// Bytes of one compiled regular expression; a tenth of the library's own bound.
const PATTERN_BYTES: usize = 1 << 20;

/// Problems told of one config; a config can have as many as it has values.
const PROBLEMS: usize = 32;

/// Something in a config that the schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What.
    pub message: String,
}

/// Why a schema is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the config schema is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the config schema is larger than {JSON_BYTES} bytes")]
    TooLarge,
    #[error(
        "the config schema uses {0}, which is not supported; references must be of the form #/$defs/name"
    )]
    Reference(String),
    #[error("the config schema refers to itself at {0}")]
    Recursive(String),
    #[error("the config schema is larger than {EXPANDED_PARTS} parts with its references replaced")]
    Expanded,
    #[error("the config schema is not valid: {0}")]
    Invalid(String),
}

/// A schema from its text.
pub(super) fn parse(text: &str) -> Result<Value, SchemaError> {
    if text.len() > JSON_BYTES {
        return Err(SchemaError::TooLarge);
    }
    let schema = serde_json::from_str(text).map_err(SchemaError::NotJson)?;
    compile(&schema)?;
    Ok(schema)
}

/// Checks a config against a schema that [`parse`] took.
pub(super) fn validate(schema: &Value, config: &Value) -> Result<(), Vec<ConfigProblem>> {
    let problem = |pointer: String, message: String| ConfigProblem { pointer, message };
    let validator =
        compile(schema).map_err(|error| vec![problem(String::new(), error.to_string())])?;
    if config.to_string().len() > JSON_BYTES {
        let message = format!("the config is larger than {JSON_BYTES} bytes");
        return Err(vec![problem(String::new(), message)]);
    }
    let problems: Vec<_> = validator
        .iter_errors(config)
        .take(PROBLEMS)
        // Without the value: a config may hold what must not be repeated.
        .map(|error| {
            problem(
                error.instance_path().to_string(),
                error.masked().to_string(),
            )
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    Expansion {
        root: schema,
        known: HashMap::new(),
        open: Vec::new(),
    }
    .parts(schema)?;
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES);
    jsonschema::options()
        .with_pattern_options(patterns)
        .offline()
        .build(schema)
        .map_err(|error| SchemaError::Invalid(error.to_string()))
}

/// Counts a schema's parts with its references replaced.
struct Expansion<'a> {
    root: &'a Value,
    /// Parts behind each pointer that was followed.
    known: HashMap<&'a str, u64>,
    /// Pointers that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Expansion<'a> {
    /// Any value is taken for a schema, so that a schema in an unknown place counts too. Depth is bounded: parsed
    /// JSON nests at most 128 levels, and each pointer is followed once.
    fn parts(&mut self, value: &'a Value) -> Result<u64, SchemaError> {
        let mut parts = 1u64;
        match value {
            Value::Array(items) => {
                for item in items {
                    parts = parts.saturating_add(self.parts(item)?);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    let inner = match (name.as_str(), field) {
                        ("$ref", Value::String(pointer)) => self.behind(pointer)?,
                        // They change what a reference means, or are ones of another kind.
                        ("$id" | "$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err(SchemaError::Reference(name.clone()));
                        }
                        _ => self.parts(field)?,
                    };
                    parts = parts.saturating_add(inner);
                }
            }
            _ => {}
        }
        if parts > EXPANDED_PARTS {
            Err(SchemaError::Expanded)
        } else {
            Ok(parts)
        }
    }

    fn behind(&mut self, pointer: &'a str) -> Result<u64, SchemaError> {
        if self.open.contains(&pointer) {
            return Err(SchemaError::Recursive(pointer.to_owned()));
        }
        if let Some(parts) = self.known.get(pointer) {
            return Ok(*parts);
        }
        // `#` alone is the root, which holds the reference itself. Escapes would give one place two names.
        let path = pointer
            .strip_prefix('#')
            .filter(|path| path.starts_with('/') && !path.contains('%'));
        let target = path.and_then(|path| self.root.pointer(path));
        let target = target.ok_or_else(|| SchemaError::Reference(pointer.to_owned()))?;
        self.open.push(pointer);
        let parts = self.parts(target)?;
        self.open.pop();
        self.known.insert(pointer, parts);
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(schema: Value) -> String {
        parse(&schema.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn problems_name_their_place_and_not_the_value() {
        let schema = json!({
            "type": "object",
            "properties": { "to": { "$ref": "#/$defs/name" } },
            "required": ["to"],
            "$defs": { "name": { "type": "string", "pattern": "^[a-z]+$" } },
        });
        let schema = parse(&schema.to_string()).unwrap();
        assert_eq!(validate(&schema, &json!({"to": "abc"})), Ok(()));
        let problems = validate(&schema, &json!({"to": "s3cret"})).unwrap_err();
        assert_eq!(problems[0].pointer, "/to");
        assert!(!problems[0].message.contains("s3cret"), "{problems:?}");
        assert_eq!(validate(&schema, &json!({})).unwrap_err()[0].pointer, "");
    }

    #[test]
    fn references_stay_inside_and_end() {
        assert!(error(json!({"$ref": "https://example.com/schema"})).contains("not supported"));
        assert!(error(json!({"$ref": "file:///etc/passwd"})).contains("not supported"));
        assert!(error(json!({"$ref": "#"})).contains("not supported"));
        assert!(error(json!({"$ref": "#/$defs/gone"})).contains("not supported"));
        assert!(error(json!({"$dynamicRef": "#a"})).contains("not supported"));
        let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
        assert!(error(circle).contains("refers to itself"));
    }

    #[test]
    fn references_do_not_multiply() {
        let mut defs = json!({"d0": {"type": "string"}});
        for n in 0..30 {
            let below = json!({"$ref": format!("#/$defs/d{n}")});
            defs[format!("d{}", n + 1)] = json!({"allOf": [below, below]});
        }
        assert!(error(json!({"$ref": "#/$defs/d30", "$defs": defs})).contains("parts"));
    }

    #[test]
    fn patterns_are_linear_and_small() {
        assert!(error(json!({"pattern": "^(a)\\1$"})).contains("not valid"));
        assert!(error(json!({"pattern": "(?=a)b"})).contains("not valid"));
        assert!(error(json!({"pattern": "a{1000}{1000}"})).contains("not valid"));
        let schema = parse(&json!({"pattern": "^(a+)+$"}).to_string()).unwrap();
        let config = json!("a".repeat(60_000) + "b");
        assert_eq!(validate(&schema, &config).unwrap_err().len(), 1);
    }

    #[test]
    fn size_is_bounded() {
        let schema = json!({"description": "x".repeat(JSON_BYTES)});
        assert!(error(schema).contains("larger"));
        let problems = validate(&json!({}), &json!("x".repeat(JSON_BYTES))).unwrap_err();
        assert!(problems[0].message.contains("larger"));
    }
}
