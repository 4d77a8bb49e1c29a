//! Reads the layers, lays them over each other and refuses what does not fit, naming the key.

use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat};

use super::Settings;

/// The file that is read from the working directory when none is named.
const DEFAULT_FILE: &str = "hookmill.toml";

/// Settings that are lists; in a variable their items are separated by commas.
const LISTS: [&str; 5] = [
    "outbound.allow_subnets",
    "outbound.deny_subnets",
    "outbound.allow_hosts",
    "outbound.dns.servers",
    "outbound.tls.extra_roots",
];

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The named file is not there.
    #[error("there is no settings file {}", path.display())]
    NoSuchFile {
        /// As given.
        path: PathBuf,
    },
    /// A layer does not parse, a key is unknown, or a value does not fit.
    #[error("settings: {0}")]
    Unfit(#[from] config::ConfigError),
}

/// What the command line sets, over every other layer: keys as in the file.
#[derive(Debug, Default)]
pub struct Overrides(Vec<(String, config::Value)>);

impl Overrides {
    /// Sets a key, if there is a value.
    pub fn set(&mut self, key: &str, value: Option<impl Into<config::Value>>) {
        if let Some(value) = value {
            self.0.push((key.to_owned(), value.into()));
        }
    }

    /// Sets a list, if it has items.
    pub fn set_list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.set(key, Some(items.to_vec()));
        }
    }
}

/// Reads `file` (or `hookmill.toml` where none is named and one exists), the environment and the flags.
pub fn load(file: Option<&Path>, flags: Overrides) -> Result<Settings, ConfigError> {
    load_from(file, std::env::vars(), flags)
}

/// The same with the variables given, so that a test does not read those that it was itself started with.
fn load_from(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    flags: Overrides,
) -> Result<Settings, ConfigError> {
    let mut builder = config::Config::builder();
    match file {
        Some(path) if !path.exists() => {
            return Err(ConfigError::NoSuchFile {
                path: path.to_owned(),
            });
        }
        Some(path) => builder = builder.add_source(File::from(path).format(FileFormat::Toml)),
        None => {
            let source = File::new(DEFAULT_FILE, FileFormat::Toml).required(false);
            builder = builder.add_source(source);
        }
    }
    let (secrets, variables): (Vec<_>, Vec<_>) =
        variables.partition(|(name, _)| secret_key(name).is_some());
    builder = builder.add_source(environment(variables));
    for (name, text) in secrets {
        if let Some(key) = secret_key(&name) {
            builder = set(builder, key, text.into())?;
        }
    }
    for (key, value) in flags.0 {
        builder = set(builder, &key, value)?;
    }
    Ok(builder.build()?.try_deserialize()?)
}

fn set(
    builder: ConfigBuilder<DefaultState>,
    key: &str,
    value: config::Value,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    Ok(builder.set_override(key, value)?)
}

/// Variables that the client commands read; they are no settings.
const NOT_SETTINGS: [&str; 2] = ["HOOKMILL_URL", "HOOKMILL_TOKEN"];

/// The key of a variable whose text is taken as it is: one of digits only is no number.
fn secret_key(variable: &str) -> Option<&'static str> {
    match variable {
        "HOOKMILL_JWT_SECRET" => Some("jwt_secret"),
        "HOOKMILL_SEALING_KEY" => Some("sealing_key"),
        _ => None,
    }
}

/// `HOOKMILL_DATA_DIR` is `data_dir`, `HOOKMILL_STORE__BACKEND` is `store.backend`.
fn environment(mut variables: Vec<(String, String)>) -> Environment {
    variables.retain(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()));
    let source = Environment::with_prefix("HOOKMILL")
        .source(Some(variables.into_iter().collect()))
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true)
        .list_separator(",");
    LISTS
        .iter()
        .fold(source, |source, key| source.with_list_parse_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hookmill.toml");
        std::fs::write(&path, text).unwrap();
        load_from(Some(&path), std::iter::empty(), Overrides::default())
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_flags_win() {
        assert_eq!(from_file("").unwrap().listen.port(), 8080);
        let mut flags = Overrides::default();
        flags.set("listen", Some("127.0.0.1:0"));
        flags.set_list("outbound.allow_subnets", &["127.0.0.0/8".to_owned()]);
        let settings = load_from(None, std::iter::empty(), flags).unwrap();
        assert_eq!(settings.listen.port(), 0);
        assert_eq!(settings.outbound.allow_subnets.len(), 1);
    }

    #[test]
    fn a_variable_is_a_setting() {
        let variable =
            |name: &str, value: &str| std::iter::once((name.to_owned(), value.to_owned()));
        let load = |variables| load_from(None, variables, Overrides::default());
        let settings = load(variable("HOOKMILL_STORE__BACKEND", "memory")).unwrap();
        assert_eq!(settings.store.backend, crate::config::Backend::Memory);
        let subnets = "10.0.0.0/8,192.168.0.0/16";
        let settings = load(variable("HOOKMILL_OUTBOUND__DENY_SUBNETS", subnets)).unwrap();
        assert_eq!(settings.outbound.deny_subnets.len(), 2);
        let digits = "123456789012345678901234567890123456";
        let settings = load(variable("HOOKMILL_JWT_SECRET", digits)).unwrap();
        assert_eq!(settings.jwt_secret.unwrap().expose(), digits);
        assert!(load(variable("HOOKMILL_TOKEN", "not a setting")).is_ok());
        assert!(load(variable("HOOKMILL_COLOUR", "1")).is_err());
    }

    #[test]
    fn an_unknown_key_is_named() {
        for text in ["colour = 1", "[store]\ncolour = 1", "[sandbox]\ncolour = 1"] {
            let error = from_file(text).unwrap_err().to_string();
            assert!(error.contains("colour"), "{error}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_key() {
        let error = from_file("listen = \"nowhere\"").unwrap_err().to_string();
        assert!(
            error.contains("listen") || error.contains("nowhere"),
            "{error}"
        );
        assert!(matches!(
            load_from(
                Some(Path::new("does-not-exist.toml")),
                std::iter::empty(),
                Overrides::default()
            ),
            Err(ConfigError::NoSuchFile { .. })
        ));
    }
}
