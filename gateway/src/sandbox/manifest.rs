//! What a plugin says of itself, and what of it is believed. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdmitError, host, schema};

/// What a plugin says of itself, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1 to 64 lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit.
    pub name: String,
    /// A label for people, at most 64 bytes.
    pub version: String,
    /// At most 1,024 bytes.
    pub summary: String,
    /// JSON Schema that every chain's config must fit.
    pub config_schema: Value,
}

/// The texts are shown to people and kept with the version: bounded, and without control characters.
pub(super) fn judge(said: host::Manifest) -> Result<Manifest, AdmitError> {
    if !is_name(&said.name) {
        let problem = "is not 1 to 64 lower-case letters, digits, dots, dashes or underscores";
        return Err(AdmitError::Manifest {
            field: "name",
            problem,
        });
    }
    for (field, text, most) in [
        ("version", &said.version, 64),
        ("summary", &said.summary, 1024),
    ] {
        if text.len() > most {
            return Err(AdmitError::Manifest {
                field,
                problem: "is too long",
            });
        }
        if text.chars().any(char::is_control) {
            return Err(AdmitError::Manifest {
                field,
                problem: "has control characters",
            });
        }
    }
    let config_schema = schema::parse(&said.config_schema)?;
    Ok(Manifest {
        name: said.name,
        version: said.version,
        summary: said.summary,
        config_schema,
    })
}

fn is_name(name: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(alphanumeric)
        && name.bytes().all(|b| alphanumeric(b) || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, version: &str, summary: &str) -> host::Manifest {
        host::Manifest {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            config_schema: "{}".into(),
        }
    }

    #[test]
    fn texts_are_bounded_and_plain() {
        assert!(judge(said("slack-message", "1.0.0", "Für alle")).is_ok());
        let long = "x".repeat(1025);
        for (name, version, summary, field) in [
            ("", "1", "", "name"),
            ("Slack", "1", "", "name"),
            ("-x", "1", "", "name"),
            (&long[..65], "1", "", "name"),
            ("x", &long[..65], "", "version"),
            ("x", "1\n", "", "version"),
            ("x", "1", &long, "summary"),
        ] {
            let error = judge(said(name, version, summary)).unwrap_err();
            assert!(matches!(error, AdmitError::Manifest { field: f, .. } if f == field));
        }
        let schema = host::Manifest {
            config_schema: "{".into(),
            ..said("x", "1", "")
        };
        assert!(matches!(judge(schema), Err(AdmitError::Schema(_))));
    }
}
